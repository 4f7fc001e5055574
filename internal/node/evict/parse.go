package evict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Wanted is what a user says about thresholds, a map for each as the stock node
// agent's configuration has it: {"memory.available": "100Mi"}, {"nodefs.available":
// "10%"}, grace periods as durations.
type Wanted struct {
	Hard, Soft, SoftGrace, MinReclaim map[string]string
	// KeepDefaults keeps the default hard thresholds of signals that Hard leaves out;
	// else Hard, where it is not empty, is all of them.
	KeepDefaults bool
	// ImagesApart: images lie on a file system of their own.
	ImagesApart bool
}

// Parse makes thresholds of what the user wants, or says all that is wrong with it.
func Parse(w Wanted) ([]Threshold, field.ErrorList) {
	var errs field.ErrorList
	var out []Threshold
	if len(w.Hard) == 0 || w.KeepDefaults {
		out = slices.DeleteFunc(DefaultThresholds(w.ImagesApart), func(t Threshold) bool { return w.Hard[string(t.Signal)] != "" })
	}
	add := func(at *field.Path, wanted map[string]string, grace map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			t, err := parseThreshold(at.Key(name), name, wanted[name])
			errs = append(errs, err...)
			if t == nil || len(err) > 0 {
				continue
			}
			if grace != nil {
				if t.Grace, err = parseGrace(grace, name); len(err) > 0 {
					errs = append(errs, err...)
					continue
				}
			}
			out = append(out, *t)
		}
	}
	add(field.NewPath("evictionHard"), w.Hard, nil)
	add(field.NewPath("evictionSoft"), w.Soft, orEmpty(w.SoftGrace))
	for name := range w.SoftGrace {
		if _, soft := w.Soft[name]; !soft {
			errs = append(errs, field.Invalid(field.NewPath("evictionSoftGracePeriod").Key(name), w.SoftGrace[name], "there is no evictionSoft threshold of this signal"))
		}
	}
	errs = append(errs, addReclaim(out, w.MinReclaim)...)
	slices.SortStableFunc(out, func(a, b Threshold) int {
		return cmp.Or(cmp.Compare(urgency[a.Signal], urgency[b.Signal]), cmp.Compare(a.Grace, b.Grace))
	})
	return out, errs
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// parseThreshold returns nil and no error for one that is switched off: 0 % and 100 %.
func parseThreshold(at *field.Path, name, text string) (*Threshold, field.ErrorList) {
	if _, known := signalResource[Signal(name)]; !known {
		return nil, field.ErrorList{field.NotSupported(at, name, slices.Sorted(maps.Keys(signalResource)))}
	}
	if text == "0%" || text == "100%" {
		return nil, nil
	}
	amount, err := parseAmount(text)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(at, text, err.Error())}
	}
	return &Threshold{Signal: Signal(name), Amount: amount}, nil
}

func parseGrace(grace map[string]string, name string) (time.Duration, field.ErrorList) {
	at := field.NewPath("evictionSoftGracePeriod").Key(name)
	text, said := grace[name]
	if !said {
		return 0, field.ErrorList{field.Required(at, "a soft threshold needs one")}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, field.ErrorList{field.Invalid(at, text, "must be a duration above zero, like 1m30s")}
	}
	return d, nil
}

func addReclaim(thresholds []Threshold, wanted map[string]string) (errs field.ErrorList) {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		at := field.NewPath("evictionMinimumReclaim").Key(name)
		if _, known := signalResource[Signal(name)]; !known {
			errs = append(errs, field.NotSupported(at, name, slices.Sorted(maps.Keys(signalResource))))
			continue
		}
		amount, err := parseAmount(wanted[name])
		if err != nil {
			errs = append(errs, field.Invalid(at, wanted[name], err.Error()))
			continue
		}
		for i := range thresholds {
			if string(thresholds[i].Signal) == name {
				thresholds[i].MinReclaim = amount
			}
		}
	}
	return errs
}

// parseAmount reads "100Mi" or "10%".
func parseAmount(text string) (Amount, error) {
	if percent, is := strings.CutSuffix(text, "%"); is {
		f, err := strconv.ParseFloat(percent, 64)
		if err != nil || f < 0 || f > 100 {
			return Amount{}, fmt.Errorf("must be between 0%% and 100%%")
		}
		return Amount{Fraction: f / 100}, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return Amount{}, fmt.Errorf("must be a quantity like 100Mi, or a percentage like 10%%")
	}
	if q.Sign() < 0 {
		return Amount{}, fmt.Errorf("must not be negative")
	}
	return Amount{Quantity: q}, nil
}
