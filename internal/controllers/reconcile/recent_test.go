package reconcile

import (
	"slices"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func terminating(p *v1.Pod) *v1.Pod {
	copied := *p
	copied.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return &copied
}

// However far the cache lags behind, the list counts every object that is alive
// in truth exactly once, and none that was deleted.
func TestRecentHidesTheLagOfTheCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type event struct {
			pod  *v1.Pod
			gone bool
		}
		var log []event // what the watch will deliver, in order
		seen := 0
		cached, truth := map[types.UID]*v1.Pod{}, map[types.UID]*v1.Pod{}
		recent := NewRecent(func() string { return strconv.Itoa(seen + 1) }, terminating)
		const owner = types.UID("owner")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				version := strconv.Itoa(len(log) + 2)
				p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(version), ResourceVersion: version}}
				log = append(log, event{pod: p})
				truth[p.UID] = p
				recent.Made(owner, p)
			case 1:
				uids := slices.Sorted(func(yield func(types.UID) bool) {
					for uid := range truth {
						if !yield(uid) {
							return
						}
					}
				})
				if len(uids) == 0 {
					continue
				}
				uid := rapid.SampledFrom(uids).Draw(t, "victim")
				log = append(log, event{pod: truth[uid], gone: true})
				delete(truth, uid)
				recent.Deleted(owner, uid)
			case 2:
				if seen < len(log) {
					if e := log[seen]; e.gone {
						delete(cached, e.pod.UID)
					} else {
						cached[e.pod.UID] = e.pod
					}
					seen++
				}
			}
			got, err := recent.List(owner, func() (list []*v1.Pod, _ error) {
				for _, p := range cached {
					list = append(list, p)
				}
				return list, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			alive := 0
			for _, p := range got {
				if p.DeletionTimestamp == nil {
					alive++
					if truth[p.UID] == nil {
						t.Fatalf("%s was deleted", p.UID)
					}
				}
			}
			if alive != len(truth) {
				t.Fatalf("%d alive, want %d", alive, len(truth))
			}
		}
		if seen == len(log) && len(recent.owners) != 0 {
			t.Fatalf("%d owners kept with a cache that is up to date", len(recent.owners))
		}
	})
}
