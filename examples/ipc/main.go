// The chapter "ipc". Processes share no memory, so one has to tell the other: inter-process
// communication. The first process puts words into a queue, the second one gets them, in the
// same order; when the first one closes the queue, the second one knows that this was all. A
// pipe goes both ways: we ask at one end, and a process answers at the other.
//
// Python: multiprocessing.Queue and Pipe; put and get, send and recv, and EOFError when the other
// end is gone. Here: share.Queue and share.NewPipe; Put and Get, Send and Receive, and ErrClosed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

// Said is what a process has put into a queue, or got out of it.
type Said struct {
	PID   int
	Words []string
}

// speak puts words into a queue.
var speak = brood.NewFunc("speak", func(ctx context.Context, to *share.Queue[string]) (Said, error) {
	words := strings.Fields("do not communicate by sharing memory")
	for _, w := range words {
		if err := to.Put(ctx, w); err != nil {
			return Said{}, err
		}
	}
	return Said{os.Getpid(), words}, to.Close()
})

// listen gets words until there are no more.
var listen = brood.NewFunc("listen", func(ctx context.Context, from *share.Queue[string]) (Said, error) {
	var words []string
	for w, err := range from.All(ctx) {
		if err != nil {
			return Said{}, err
		}
		words = append(words, w)
	}
	return Said{os.Getpid(), words}, nil
})

// answer answers every question, and returns how many there were.
var answer = brood.NewFunc("answer", func(ctx context.Context, end *share.End[string]) (n int, err error) {
	for question, err := range end.All(ctx) {
		if err == nil {
			err = end.Send(ctx, fmt.Sprintf("%d of %d letters", strings.Count(question, "e"), len(question)))
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	if err := oneWay(ctx, space); err != nil {
		return err
	}
	return bothWays(ctx, space)
}

// oneWay lets one process speak and another one listen.
func oneWay(ctx context.Context, space *share.Space) error {
	queue, err := share.NewQueue[string](space, "words", 2) // so that the one waits for the other
	if err != nil {
		return err
	}
	speaker, err := speak.Start(ctx, queue, brood.ProcessOptions{Name: "speaker"})
	if err != nil {
		return err
	}
	listener, err := listen.Start(ctx, queue, brood.ProcessOptions{Name: "listener"})
	if err != nil {
		return err
	}
	put, err := speaker.Result(ctx)
	if err != nil {
		return err
	}
	got, err := listener.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("we are %d\n", os.Getpid())
	fmt.Printf("process %d put %q\n", put.PID, put.Words)
	fmt.Printf("process %d got %q\n", got.PID, got.Words)
	return nil
}

// bothWays asks a process, and hears what it answers.
func bothWays(ctx context.Context, space *share.Space) error {
	ours, theirs, err := share.NewPipe[string](space, "letters", share.PipeOptions{})
	if err != nil {
		return err
	}
	process, err := answer.Start(ctx, theirs, brood.ProcessOptions{Name: "answerer"})
	if err != nil {
		return err
	}
	for _, question := range []string{"process", "queue", "pipe"} {
		if err := ours.Send(ctx, question); err != nil {
			return err
		}
		said, err := ours.Receive(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("how often e is in %q: %s\n", question, said)
	}
	if err := ours.Close(); err != nil {
		return err
	}
	n, err := process.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Println("our end is closed, and the process has ended after questions:", n)
	_, err = ours.Receive(ctx)
	fmt.Println("to receive from it is ErrClosed:", errors.Is(err, share.ErrClosed))
	return nil
}
