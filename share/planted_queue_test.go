package share

import "github.com/brood-go/brood/internal/explore"

// inDesk breaks a word of the desk, which is the first extent; inSlots one of every slot.
func inDesk(word int, how func(*spoilt)) fault {
	return fault{extent: func(index uint64, i int) func(*spoilt) {
		if index == 1 && i == word {
			return how
		}
		return nil
	}}
}

func inSlots(word int, how func(*spoilt)) fault {
	return fault{extent: func(index uint64, i int) func(*spoilt) {
		if index > 1 && i == word {
			return how
		}
		return nil
	}}
}

var (
	endings   = []explore.Kind{explore.Final}
	anyhow    = []explore.Kind{explore.Hang, explore.Failed, explore.Final, explore.Livelock}
	smallOne  = plainCase(fifoRules(1, 16), 1, 1, 2, false)
	smallTwo  = plainCase(fifoRules(1, 16), 2, 2, 1, false)
	largeOne  = plainCase(fifoRules(1, 0), 1, 1, 2, false)
	oneToTwo  = plainCase(fifoRules(2, 16), 1, 2, 2, false)
	delivered = joinableCase(rules{order: firstIn, capacity: 2, hands: 2, attempts: 2, inline: 16, keep: 1 << 20}, 2, 2)
)

// losesCode loses the change of a slot to a state.
func losesCode(code uint64) func(*spoilt) {
	return forgets(func(_, new uint64) bool { return new&slotCode == code })
}

var depotFaults = []plant{
	{"queue: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, smallOne, endings},
	{"queue: the dead live", inMemory(allLive), kill1, smallOne, anyhow},
	{"queue: others are dead", inMemory(othersDead), explore.Options{Preemptions: 2}, smallOne, anyhow},
	{"queue: a death before the sleep is missed", inMemory(deafToDeaths), kill1, smallOne, anyhow},
	{"queue: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, smallOne, endings},
	{"queue: a getter that sleeps does not say so", inDesk(3, without(lineAsleep)), explore.Options{Preemptions: 2}, smallOne, spins},
	{"queue: a putter that sleeps does not say so", inDesk(5, without(lineAsleep)), explore.Options{Preemptions: 2}, smallOne, spins},
	{"queue: the flag is not set again", inDesk(3, writes(func(old, new uint64) uint64 {
		if old >= lineTurn && new&lineAsleep != 0 {
			return new &^ lineAsleep
		}
		return new
	})), explore.Options{Preemptions: 2}, oneToTwo, anyhow},
	{"queue: putting is not committed", inSlots(0, losesCode(slotReady)), explore.Options{Preemptions: 1}, smallOne, anyhow},
	{"queue: handing over is not committed", inSlots(0, losesCode(slotFree)), explore.Options{Preemptions: 1}, smallOne, anyhow},
	{"queue: who reads does not say so", inSlots(0, losesCode(slotReading)), kill1, largeOne, anyhow},
	{"queue: who writes does not say so", inSlots(0, losesCode(slotFilling)), kill1, largeOne, anyhow},
	{"queue: who has an item in hand is not known", inSlots(0, changes(func(_, new uint64) uint64 {
		if new&slotCode == slotTaken {
			return low(new)
		}
		return new
	})), kill1, delivered, anyhow},
	{"queue: deliveries are not counted", inSlots(0, changes(func(old, new uint64) uint64 {
		return new&^(slotMarks&^(slotAttempt-1)) | old&(slotMarks&^(slotAttempt-1))
	})), explore.Options{Preemptions: 1}, delivered, anyhow},
	{"queue: the count of ready items is lost", inDesk(15, forgets(func(old, new uint64) bool { return new < old })), explore.Options{Preemptions: 1}, smallTwo, anyhow},
	{"queue: the list is lost", inDesk(9, forgets(func(old, _ uint64) bool { return old != 0 })), explore.Options{Preemptions: 1}, smallTwo, anyhow},
}
