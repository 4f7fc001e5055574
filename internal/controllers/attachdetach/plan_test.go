package attachdetach

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func csiVolume(name string) *v1.PersistentVolume {
	return &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PersistentVolumeSpec{
		AccessModes:            []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
		PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: "csi.example", VolumeHandle: name}},
	}}
}

func names(list []*storagev1.VolumeAttachment) (out []string) {
	for _, a := range list {
		out = append(out, a.Name)
	}
	return out
}

func TestPlanAttachesWhatIsWantedAndDetachesItsOwn(t *testing.T) {
	wanted, kept, left := csiVolume("wanted"), csiVolume("kept"), csiVolume("left")
	foreign := attachment("made-by-hand", left, "n")
	have := []*storagev1.VolumeAttachment{attachment(nameOf(kept, "n"), kept, "n"), attachment(nameOf(left, "n"), left, "n"), foreign}
	d := plan(view{
		name: "n", node: &v1.Node{}, attachments: have,
		wants:  map[string]want{nameOf(wanted, "n"): {volume: wanted}, nameOf(kept, "n"): {volume: kept}},
		volume: func(string) *v1.PersistentVolume { return nil },
	}, have)
	if got, want := names(d.attach), []string{nameOf(wanted, "n")}; !slices.Equal(got, want) {
		t.Errorf("attaches %v, want %v", got, want)
	}
	if got, want := names(d.detach), []string{nameOf(left, "n")}; !slices.Equal(got, want) {
		t.Errorf("detaches %v, want %v: nobody else's", got, want)
	}
}

func TestPlanGivesAVolumeToOneNode(t *testing.T) {
	volume := csiVolume("v")
	elsewhere := attachment(nameOf(volume, "other"), volume, "other")
	d := plan(view{name: "n", node: &v1.Node{}, wants: map[string]want{nameOf(volume, "n"): {volume: volume}}}, []*storagev1.VolumeAttachment{elsewhere})
	if len(d.attach) != 0 || len(d.refused) != 1 {
		t.Errorf("attached elsewhere: attaches %v, refuses %d, want one refusal", names(d.attach), len(d.refused))
	}
}
