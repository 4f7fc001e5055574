package persistentvolume

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func claim(name string, change ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
	c.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}
	c.Spec.Resources.Requests = v1.ResourceList{v1.ResourceStorage: resource.MustParse("5Gi")}
	c.Spec.StorageClassName = ptr.To("")
	c.Status.Phase = v1.ClaimPending
	for _, f := range change {
		f(c)
	}
	return c
}

func asks(volume string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = volume }
}

func ofClass(name string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}

func complete(c *v1.PersistentVolumeClaim) {
	c.Annotations = map[string]string{"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
	c.Status.Phase = v1.ClaimBound
}

func volume(name, size string, change ...func(*v1.PersistentVolume)) *v1.PersistentVolume {
	v := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}
	v.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}
	v.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
	v.Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	v.Status.Phase = v1.VolumeAvailable
	for _, f := range change {
		f(v)
	}
	return v
}

func refersTo(c *v1.PersistentVolumeClaim) func(*v1.PersistentVolume) {
	return func(v *v1.PersistentVolume) {
		v.Spec.ClaimRef = &v1.ObjectReference{Namespace: c.Namespace, Name: c.Name, UID: c.UID}
		v.Status.Phase = v1.VolumeBound
	}
}

func modes(m ...v1.PersistentVolumeAccessMode) func(*v1.PersistentVolume) {
	return func(v *v1.PersistentVolume) { v.Spec.AccessModes = m }
}

func policy(p v1.PersistentVolumeReclaimPolicy) func(*v1.PersistentVolume) {
	return func(v *v1.PersistentVolume) { v.Spec.PersistentVolumeReclaimPolicy = p }
}

func madeBy(provisioner string) func(*v1.PersistentVolume) {
	return func(v *v1.PersistentVolume) {
		v.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}
	}
}

func class(name, provisioner string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
}

// said is a decision in one line: what becomes of the claim and the volume, and what the user is told.
func said(o outcome) string {
	var parts []string
	if c := o.claim; c != nil {
		parts = append(parts, fmt.Sprintf("claim %s", c.Status.Phase))
		if c.Spec.VolumeName != "" {
			parts = append(parts, "on "+c.Spec.VolumeName)
		}
		if p := c.Annotations["volume.kubernetes.io/storage-provisioner"]; p != "" {
			parts = append(parts, "for "+p)
		}
	}
	if v := o.volume; v != nil {
		parts = append(parts, fmt.Sprintf("volume %s %s", v.Name, v.Status.Phase))
		if r := v.Spec.ClaimRef; r != nil {
			parts = append(parts, fmt.Sprintf("of %s %q", r.Name, r.UID))
		}
	}
	for _, e := range o.events {
		parts = append(parts, e.reason+": "+e.message)
	}
	for _, n := range o.next {
		parts = append(parts, "look at "+n)
	}
	return strings.Join(parts, "; ")
}

func TestPlanClaim(t *testing.T) {
	wait := class("wait", "example.com/p", storagev1.VolumeBindingWaitForFirstConsumer)
	now := class("now", "example.com/p", storagev1.VolumeBindingImmediate)
	other := claim("other")
	for name, c := range map[string]struct {
		view claimView
		want string
	}{
		"nothing there": {
			claimView{claim: claim("c")},
			"claim Pending; FailedBinding: no persistent volumes available for this claim and no storage class is set",
		},
		"the smallest that fits": {
			claimView{claim: claim("c"), volumes: []*v1.PersistentVolume{volume("a", "20Gi"), volume("b", "6Gi"), volume("d", "4Gi")}},
			`claim Bound; on b; volume b Bound; of c "uid-c"`,
		},
		"no mode too many before a smaller one": {
			claimView{claim: claim("c"), volumes: []*v1.PersistentVolume{volume("a", "5Gi", modes(v1.ReadWriteOnce, v1.ReadOnlyMany)), volume("b", "9Gi")}},
			`claim Bound; on b; volume b Bound; of c "uid-c"`,
		},
		"access modes": {
			claimView{claim: claim("c"), volumes: []*v1.PersistentVolume{volume("a", "5Gi", modes(v1.ReadOnlyMany))}},
			"claim Pending; FailedBinding: no persistent volumes available for this claim and no storage class is set",
		},
		"the one reserved for it": {
			claimView{claim: claim("c"), volumes: []*v1.PersistentVolume{volume("a", "5Gi"), volume("b", "9Gi", refersTo(claim("c")))}},
			`claim Bound; on b; volume b Bound; of c "uid-c"`,
		},
		"gets the default class": {
			claimView{claim: claim("c", func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil }), defaultClass: "d"},
			"claim Pending",
		},
		"waits for a consumer": {
			claimView{claim: claim("c", ofClass("wait")), class: wait, volumes: []*v1.PersistentVolume{volume("a", "5Gi", func(v *v1.PersistentVolume) { v.Spec.StorageClassName = "wait" })}},
			"claim Pending; WaitForFirstConsumer: waiting for first consumer to be created before binding",
		},
		"waits for a pod": {
			claimView{claim: claim("c", ofClass("wait")), class: wait, waiting: []string{"p"}},
			"claim Pending; WaitForPodScheduled: waiting for pod p to be scheduled",
		},
		"is provided for once a node is selected": {
			claimView{claim: claim("c", ofClass("wait"), func(c *v1.PersistentVolumeClaim) {
				c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "n"}
			}), class: wait},
			"claim Pending; for example.com/p; ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/p' " +
				"or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
		},
		"is provided for at once": {
			claimView{claim: claim("c", ofClass("now")), class: now},
			"claim Pending; for example.com/p; ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/p' " +
				"or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
		},
		"no such class": {
			claimView{claim: claim("c", ofClass("x"))},
			`claim Pending; ProvisioningFailed: storageclass.storage.k8s.io "x" not found`,
		},
		"no provisioner": {
			claimView{claim: claim("c", ofClass("n")), class: class("n", "kubernetes.io/no-provisioner", storagev1.VolumeBindingImmediate)},
			"claim Pending; ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner",
		},
		"asks for one that isn't there": {claimView{claim: claim("c", asks("a"))}, "claim Pending; on a"},
		"asks for a free one":           {claimView{claim: claim("c", asks("a")), volume: volume("a", "5Gi")}, `claim Bound; on a; volume a Bound; of c "uid-c"`},
		"asks for one that is too small": {
			claimView{claim: claim("c", asks("a")), volume: volume("a", "1Gi")},
			`claim Pending; on a; VolumeMismatch: Cannot bind to requested volume "a": requested PV is too small`,
		},
		"asks for another's": {
			claimView{claim: claim("c", asks("a")), volume: volume("a", "5Gi", refersTo(other))},
			`claim Pending; on a; FailedBinding: volume "a" already bound to a different claim.`,
		},
		"its volume is gone": {
			claimView{claim: claim("c", asks("a"), complete)},
			"claim Lost; on a; ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
		},
		"its volume is another's": {
			claimView{claim: claim("c", asks("a"), complete), volume: volume("a", "5Gi", refersTo(other))},
			"claim Lost; on a; ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly",
		},
		"is bound": {
			claimView{claim: claim("c", asks("a"), complete), volume: volume("a", "5Gi", refersTo(claim("c")))},
			`claim Bound; on a; volume a Bound; of c "uid-c"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if v := c.view.volume; v != nil {
				c.view.volumes = append(c.view.volumes, v)
			}
			o, err := planClaim(c.view)
			if err != nil {
				t.Fatal(err)
			}
			if got := said(o); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestPlanVolume(t *testing.T) {
	pending, mine, elsewhere := claim("c"), claim("c", asks("a")), claim("c", asks("b"))
	ours := func(v *v1.PersistentVolume) {
		v.Annotations = map[string]string{"pv.kubernetes.io/bound-by-controller": "yes"}
	}
	for name, c := range map[string]struct {
		volume *v1.PersistentVolume
		claim  *v1.PersistentVolumeClaim
		want   string
	}{
		"free":          {volume("a", "5Gi"), nil, ""},
		"new":           {volume("a", "5Gi", func(v *v1.PersistentVolume) { v.Status.Phase = v1.VolumePending }), nil, "volume a Available"},
		"half bound":    {volume("a", "5Gi", refersTo(pending)), pending, "look at ns/c"},
		"bound":         {volume("a", "5Gi", refersTo(mine)), mine, ""},
		"retained":      {volume("a", "5Gi", refersTo(mine)), nil, `volume a Released; of c "uid-c"`},
		"made for it":   {volume("a", "5Gi", refersTo(mine), madeBy("x"), policy(v1.PersistentVolumeReclaimDelete)), nil, `volume a Released; of c "uid-c"`},
		"not needed":    {volume("a", "5Gi", refersTo(mine), madeBy("x"), policy(v1.PersistentVolumeReclaimDelete)), elsewhere, `volume a Released; of c "uid-c"`},
		"lost the race": {volume("a", "5Gi", refersTo(mine), ours), elsewhere, "volume a Available"},
		"reserved":      {volume("a", "5Gi", refersTo(mine)), elsewhere, `volume a Available; of c ""`},
		"no deleter": {
			volume("a", "5Gi", refersTo(mine), policy(v1.PersistentVolumeReclaimDelete)), nil,
			`volume a Failed; of c "uid-c"; VolumeFailedDelete: error getting deleter volume plugin for volume "a": no deletable volume plugin matched`,
		},
		"no recycler": {
			volume("a", "5Gi", refersTo(mine), policy(v1.PersistentVolumeReclaimRecycle)), nil,
			`volume a Failed; of c "uid-c"; VolumeFailedRecycle: No recycler plugin found for the volume!`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := said(planVolume(c.volume, c.claim)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
