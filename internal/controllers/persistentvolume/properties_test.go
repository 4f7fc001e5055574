package persistentvolume

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// server stands for the API: every write needs the version that it is based on.
type server struct {
	claims  map[string]*v1.PersistentVolumeClaim
	volumes map[string]*v1.PersistentVolume
	version int
}

func (s *server) stamp() string { s.version++; return fmt.Sprint(s.version) }

// apply writes what was decided as far as a crash lets it, and reports a conflict.
func (s *server) apply(o outcome, writes int) (conflict bool) {
	if o.volume != nil && writes > 0 {
		have := s.volumes[o.volume.Name]
		if have == nil || have.ResourceVersion != o.volume.ResourceVersion {
			return true
		}
		if !equality.Semantic.DeepEqual(have, o.volume) {
			fresh := o.volume.DeepCopy()
			fresh.ResourceVersion = s.stamp()
			s.volumes[fresh.Name] = fresh
		}
		writes--
	}
	if o.claim != nil && writes > 0 {
		have := s.claims[o.claim.Name]
		if have == nil || have.ResourceVersion != o.claim.ResourceVersion {
			return true
		}
		if !equality.Semantic.DeepEqual(have, o.claim) {
			fresh := o.claim.DeepCopy()
			fresh.ResourceVersion = s.stamp()
			s.claims[fresh.Name] = fresh
		}
	}
	return false
}

// lagging is the controller's cache, as far behind the server as it likes.
type lagging struct {
	claims  map[string]*v1.PersistentVolumeClaim
	volumes map[string]*v1.PersistentVolume
}

func follow[T any](cached, truth map[string]T, name string) {
	delete(cached, name)
	if now, there := truth[name]; there {
		cached[name] = now
	}
}

func (c *lagging) decide(t *rapid.T, s *server, key string, ofVolume bool) outcome {
	if ofVolume {
		v := c.volumes[key]
		if v == nil {
			return outcome{}
		}
		var claimant *v1.PersistentVolumeClaim
		if ref := v.Spec.ClaimRef; ref != nil && ref.UID != "" {
			if claimant = c.claims[ref.Name]; claimant == nil || claimant.UID != ref.UID {
				claimant = s.claims[ref.Name] // asked of the server
			}
			if claimant != nil && claimant.UID != ref.UID {
				claimant = nil
			}
		}
		return planVolume(v, claimant)
	}
	view := claimView{claim: c.claims[key]}
	if view.claim == nil {
		return outcome{}
	}
	for _, name := range slices.Sorted(maps.Keys(c.volumes)) {
		view.volumes = append(view.volumes, c.volumes[name])
	}
	view.volume = c.volumes[view.claim.Spec.VolumeName]
	o, err := planClaim(view)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Whatever comes, goes, lags and crashes: no volume is ever bound to two claims or taken from a claim that is bound to it,
// and once all is quiet, no claim waits beside a free volume that fits.
func TestABindingIsForLifeAndOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &server{claims: map[string]*v1.PersistentVolumeClaim{}, volumes: map[string]*v1.PersistentVolume{}}
		c := &lagging{claims: map[string]*v1.PersistentVolumeClaim{}, volumes: map[string]*v1.PersistentVolume{}}
		names := []string{"a", "b", "c"}
		for i := range rapid.IntRange(5, 60).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0:
				if s.claims[name] == nil {
					fresh := claim(name)
					fresh.UID = types.UID(fmt.Sprint(name, i))
					fresh.ResourceVersion = s.stamp()
					s.claims[name] = fresh
				}
			case 1:
				if s.volumes[name] == nil {
					fresh := volume(name, rapid.SampledFrom([]string{"1Gi", "5Gi", "8Gi"}).Draw(t, "size"))
					fresh.ResourceVersion = s.stamp()
					s.volumes[name] = fresh
				}
			case 2:
				if rapid.IntRange(0, 3).Draw(t, "seldom") == 0 {
					delete(s.claims, name)
				}
			case 3:
				follow(c.claims, s.claims, name)
			case 4:
				follow(c.volumes, s.volumes, name)
			default:
				before := bindings(s)
				s.apply(c.decide(t, s, name, rapid.Bool().Draw(t, "volume")), rapid.IntRange(0, 2).Draw(t, "writes"))
				holdTrue(t, s, before)
			}
		}
		settle(t, s, c, names)
		for _, claim := range s.claims {
			if claim.Status.Phase != v1.ClaimPending {
				continue
			}
			for _, v := range s.volumes {
				if v.Status.Phase == v1.VolumeAvailable && satisfies(v, claim) == nil {
					t.Fatalf("claim %s waits although volume %s is free", claim.Name, v.Name)
				}
			}
		}
	})
}

// settle lets the controller look at all until nothing changes.
func settle(t *rapid.T, s *server, c *lagging, names []string) {
	for range 20 {
		version := s.version
		for _, name := range names {
			for _, ofVolume := range []bool{true, false} {
				for _, n := range names {
					follow(c.claims, s.claims, n)
					follow(c.volumes, s.volumes, n)
				}
				before := bindings(s)
				if s.apply(c.decide(t, s, name, ofVolume), 2) {
					t.Fatalf("a conflict with a cache that is up to date")
				}
				holdTrue(t, s, before)
			}
		}
		if s.version == version {
			return
		}
	}
	t.Fatal("the controller finds no rest")
}

// bindings are the claims that count as bound, by volume.
func bindings(s *server) map[string]types.UID {
	bound := map[string]types.UID{}
	for _, claim := range s.claims {
		if claim.Status.Phase == v1.ClaimBound {
			bound[claim.Spec.VolumeName] = claim.UID
		}
	}
	return bound
}

func holdTrue(t *rapid.T, s *server, before map[string]types.UID) {
	seen := map[string]string{}
	for _, claim := range s.claims {
		if claim.Status.Phase != v1.ClaimBound {
			continue
		}
		if other := seen[claim.Spec.VolumeName]; other != "" {
			t.Fatalf("volume %s is bound to %s and %s", claim.Spec.VolumeName, other, claim.Name)
		}
		seen[claim.Spec.VolumeName] = claim.Name
		v := s.volumes[claim.Spec.VolumeName]
		if v == nil || v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != claim.UID {
			t.Fatalf("claim %s is bound to a volume that doesn't know", claim.Name)
		}
	}
	for volume, uid := range before {
		if v := s.volumes[volume]; v != nil && v.Spec.ClaimRef != nil && v.Spec.ClaimRef.UID != uid && alive(s, uid) {
			t.Fatalf("volume %s was taken from its claim", volume)
		}
	}
}

func alive(s *server, uid types.UID) bool {
	for _, claim := range s.claims {
		if claim.UID == uid {
			return true
		}
	}
	return false
}
