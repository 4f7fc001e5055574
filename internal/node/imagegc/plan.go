package imagegc

import (
	"cmp"
	"slices"
	"time"
)

// Image is an image and what is known of its use.
type Image struct {
	ID     string
	Bytes  int64
	Pinned bool
	InUse  bool
	// Detected is when it was first seen, LastUsed when a container of it was last seen; zero is never.
	Detected, LastUsed time.Time
}

// Policy says when and what to remove; the zero value of MaxAge is any age.
type Policy struct {
	// HighPercent of the disk in use starts a collection, which goes on to LowPercent.
	HighPercent, LowPercent int
	// MinAge protects images that were pulled for a pod that is about to start.
	MinAge time.Duration
	// MaxAge removes images unused for longer, however much room there is.
	MaxAge time.Duration
}

// DefaultPolicy is upstream's.
func DefaultPolicy() Policy { return Policy{HighPercent: 85, LowPercent: 80, MinAge: 2 * time.Minute} }

// Disk is the file system of the images.
type Disk struct {
	Capacity, Available int64
}

// Plan lists what to remove, the longest unused first, and how many bytes of need that leaves. Bytes of images that share
// layers are counted to each, so the shell measures again.
type Plan struct {
	Remove []Image
	// Need is how many bytes were to be freed, Missing how many of them the removals don't bring.
	Need, Missing int64
}

// Decide makes the plan. need overrides what the disk says, where it is above zero: someone else knows that more is needed.
func Decide(images []Image, disk Disk, p Policy, need int64, now time.Time) Plan {
	plan := Plan{Need: max(need, diskNeed(disk, p))}
	var candidates []Image
	for _, image := range images {
		switch {
		case image.InUse || image.Pinned:
		case p.MaxAge > 0 && !image.Detected.IsZero() && now.Sub(lastSeen(image)) > p.MaxAge:
			plan.Remove = append(plan.Remove, image)
			plan.Missing -= image.Bytes
		case now.Sub(image.Detected) >= p.MinAge:
			candidates = append(candidates, image)
		}
	}
	slices.SortFunc(candidates, func(a, b Image) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), a.Detected.Compare(b.Detected), cmp.Compare(a.ID, b.ID))
	})
	plan.Missing += plan.Need
	for _, image := range candidates {
		if plan.Missing <= 0 {
			break
		}
		plan.Remove = append(plan.Remove, image)
		plan.Missing -= image.Bytes
	}
	plan.Missing = max(plan.Missing, 0)
	return plan
}

// diskNeed is what brings the disk from above HighPercent down to LowPercent.
func diskNeed(disk Disk, p Policy) int64 {
	if disk.Capacity <= 0 || p.HighPercent <= 0 {
		return 0
	}
	if used := 100 - disk.Available*100/disk.Capacity; used < int64(p.HighPercent) {
		return 0
	}
	return max(disk.Capacity*int64(100-p.LowPercent)/100-disk.Available, 0)
}

func lastSeen(image Image) time.Time {
	if image.LastUsed.IsZero() {
		return image.Detected
	}
	return image.LastUsed
}
