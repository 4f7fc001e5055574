package quickstart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// The manifest and the constants speak of the same pod, and the pod's volumes,
// mounts and ConfigMap fit together.
func TestManifest(t *testing.T) {
	var config corev1.ConfigMap
	var pod corev1.Pod
	d := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(Manifest)))
	for _, into := range []any{&config, &pod} {
		doc, err := d.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("more than two documents: %v", err)
	}
	c := pod.Spec.Containers[0]
	if pod.Name != Pod || c.Image != Ref || c.Ports[0].ContainerPort != Port || c.ImagePullPolicy != corev1.PullNever {
		t.Errorf("pod %s, image %s, ports %v", pod.Name, c.Image, c.Ports)
	}
	var volumes []string
	for _, v := range pod.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, m := range c.VolumeMounts {
		if !strings.Contains(fmt.Sprint(volumes), m.Name) {
			t.Errorf("no volume %s", m.Name)
		}
	}
	if pod.Spec.Volumes[0].ConfigMap.Name != config.Name {
		t.Errorf("the pod mounts %s, not %s", pod.Spec.Volumes[0].ConfigMap.Name, config.Name)
	}
}
