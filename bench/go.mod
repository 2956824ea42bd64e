module github.com/brood-go/brood/bench

go 1.26.0
