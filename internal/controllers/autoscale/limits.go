package autoscale

import (
	"math"
	"slices"
	"time"

	v2 "k8s.io/api/autoscaling/v2"
)

// History of one autoscaler: what was recommended and done of late. It is a
// value: what changes it returns another.
type History struct {
	recommended []event
	up, down    []event
}

type event struct {
	replicas int32
	at       time.Time
}

// Where an autoscaler doesn't say how fast: it doubles at most, or goes to four
// at once; it shrinks to the most of five minutes. The figures are the field's.
const (
	stabilization = 5 * time.Minute
	growthFactor  = 2.0
	growthAtLeast = 4.0
)

// with an event; those that are older than anybody looks are dropped.
func with(list []event, e event, keep time.Duration) []event {
	out := slices.DeleteFunc(slices.Clone(list), func(old event) bool { return old.at.Before(e.at.Add(-keep)) })
	return append(out, e)
}

// limited is a recommendation held to what the autoscaler allows.
type limited struct {
	replicas           int32
	ableReason, able   string // of condition AbleToScale
	limitReason, limit string // of condition ScalingLimited
	isLimited          bool
	history            History
}

const (
	inRange       = "the desired count is within the acceptable range"
	tooFew        = "the desired replica count is less than the minimum replica count"
	tooMany       = "the desired replica count is more than the maximum replica count"
	growsTooFast  = "the desired replica count is increasing faster than the maximum scale rate"
	shrinksFast   = "the desired replica count is decreasing faster than the maximum scale rate"
	recentHigher  = "recent recommendations were higher than current one, applying the highest recent recommendation"
	recentLower   = "recent recommendations were lower than current one, applying the lowest recent recommendation"
	readyForScale = "recommended size matches current size"
)

type bounds struct{ current, desired, least, most int32 }

// limit a recommendation.
func limit(b *v2.HorizontalPodAutoscalerBehavior, n bounds, h History, now time.Time) limited {
	if b == nil {
		return limitUsual(n, h, now)
	}
	return limitBy(b, n, h, now)
}

func limitUsual(n bounds, h History, now time.Time) limited {
	stable := n.desired
	for _, r := range h.recommended {
		if !r.at.Before(now.Add(-stabilization)) {
			stable = max(stable, r.replicas)
		}
	}
	out := limited{ableReason: "ReadyForNewScale", able: readyForScale, history: h}
	out.history.recommended = with(h.recommended, event{n.desired, now}, stabilization)
	if stable != n.desired {
		out.ableReason, out.able = "ScaleDownStabilized", recentHigher
	}
	most, reason, message := n.most, "TooManyReplicas", tooMany
	if fast := int32(math.Max(growthFactor*float64(n.current), growthAtLeast)); most > fast {
		most, reason, message = fast, "ScaleUpLimit", growsTooFast
	}
	return out.within(stable, n.least, most, [2]string{"TooFewReplicas", tooFew}, [2]string{reason, message})
}

func (l limited) within(n, least, most int32, few, many [2]string) limited {
	l.replicas, l.limitReason, l.limit = n, "DesiredWithinRange", inRange
	switch {
	case n < least:
		l.replicas, l.limitReason, l.limit, l.isLimited = least, few[0], few[1], true
	case n > most:
		l.replicas, l.limitReason, l.limit, l.isLimited = most, many[0], many[1], true
	}
	return l
}

// limitBy the autoscaler's own rules, which have all defaults filled in.
func limitBy(b *v2.HorizontalPodAutoscalerBehavior, n bounds, h History, now time.Time) limited {
	upWindow, downWindow := window(b.ScaleUp, 0), window(b.ScaleDown, stabilization)
	lowest, highest := n.desired, n.desired
	for _, r := range h.recommended {
		if r.at.After(now.Add(-upWindow)) {
			lowest = min(lowest, r.replicas)
		}
		if r.at.After(now.Add(-downWindow)) {
			highest = max(highest, r.replicas)
		}
	}
	stable := min(max(n.current, lowest), highest)
	out := limited{ableReason: "ReadyForNewScale", able: readyForScale, history: h}
	out.history.recommended = with(h.recommended, event{n.desired, now}, max(upWindow, downWindow))
	switch {
	case stable == n.desired:
	case n.desired >= n.current:
		out.ableReason, out.able = "ScaleUpStabilized", recentLower
	default:
		out.ableReason, out.able = "ScaleDownStabilized", recentHigher
	}
	least, few := n.least, [2]string{"TooFewReplicas", tooFew}
	most, many := n.most, [2]string{"TooManyReplicas", tooMany}
	switch {
	case stable > n.current:
		if fast := max(upLimit(b.ScaleUp, n.current, h, now), n.current); most > fast {
			most, many = fast, [2]string{"ScaleUpLimit", growsTooFast}
		}
		least = math.MinInt32
	case stable < n.current:
		if fast := min(downLimit(b.ScaleDown, n.current, h, now), n.current); least < fast {
			least, few = fast, [2]string{"ScaleDownLimit", shrinksFast}
		}
		most = math.MaxInt32
	default:
		least, most = math.MinInt32, math.MaxInt32
	}
	return out.within(stable, least, most, few, many)
}

func window(r *v2.HPAScalingRules, usual time.Duration) time.Duration {
	if r == nil || r.StabilizationWindowSeconds == nil {
		return usual
	}
	return time.Duration(*r.StabilizationWindowSeconds) * time.Second
}

// upLimit is how far it may grow now; of several policies the one that allows
// the most, unless the rules choose otherwise.
func upLimit(r *v2.HPAScalingRules, current int32, h History, now time.Time) int32 {
	return policyLimit(r, current, h, now, math.MinInt32, math.MaxInt32, func(start int32, p v2.HPAScalingPolicy) int32 {
		if p.Type == v2.PodsScalingPolicy {
			return start + p.Value
		}
		return ceil(float64(start) * (1 + float64(p.Value)/100))
	})
}

func downLimit(r *v2.HPAScalingRules, current int32, h History, now time.Time) int32 {
	return policyLimit(r, current, h, now, math.MaxInt32, math.MinInt32, func(start int32, p v2.HPAScalingPolicy) int32 {
		if p.Type == v2.PodsScalingPolicy {
			return start - p.Value
		}
		return int32(float64(start) * (1 - float64(p.Value)/100))
	})
}

// policyLimit: farther is where the change is the most, nearer where it is the least.
func policyLimit(r *v2.HPAScalingRules, current int32, h History, now time.Time, nearest, farthest int32, of func(start int32, p v2.HPAScalingPolicy) int32) int32 {
	choice := v2.MaxChangePolicySelect
	if r != nil && r.SelectPolicy != nil {
		choice = *r.SelectPolicy
	}
	if r == nil || choice == v2.DisabledPolicySelect {
		return current
	}
	grows := farthest > nearest
	result := nearest
	if choice == v2.MinChangePolicySelect {
		result = farthest
	}
	for _, p := range r.Policies {
		since := now.Add(-time.Duration(p.PeriodSeconds) * time.Second)
		proposed := of(current-changed(h.up, since)+changed(h.down, since), p)
		if grows == (choice == v2.MinChangePolicySelect) {
			result = min(result, proposed)
		} else {
			result = max(result, proposed)
		}
	}
	return result
}

func changed(events []event, since time.Time) (n int32) {
	for _, e := range events {
		if e.at.After(since) {
			n += e.replicas
		}
	}
	return n
}

// Scaled notes a change that was made.
func (h History) Scaled(b *v2.HorizontalPodAutoscalerBehavior, from, to int32, now time.Time) History {
	switch {
	case b == nil:
	case to > from:
		h.up = with(h.up, event{to - from, now}, longest(b.ScaleUp))
	default:
		h.down = with(h.down, event{from - to, now}, longest(b.ScaleDown))
	}
	return h
}

func longest(r *v2.HPAScalingRules) (d time.Duration) {
	if r == nil {
		return 0
	}
	for _, p := range r.Policies {
		d = max(d, time.Duration(p.PeriodSeconds)*time.Second)
	}
	return d
}
