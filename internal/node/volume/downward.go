package volume

import (
	"errors"
	"fmt"
	"path"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/fieldpath"
	resourcehelper "k8s.io/kubectl/pkg/util/resource"

	"github.com/proa-project/proa/internal/kit/pods"
)

// downwardPayload writes the pod's own fields into files. allocatable stands in for limits that a container doesn't set.
func downwardPayload(pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode *int32, user *int64, allocatable v1.ResourceList) (Payload, error) {
	out := Payload{}
	var errs []error
	for i := range items {
		item := &items[i]
		value, err := downwardValue(pod, item, allocatable)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[path.Clean(item.Path)] = File{Data: []byte(value), Mode: modeOr(item.Mode, mode), User: userOr(item.User, user)}
	}
	return out, errors.Join(errs...)
}

func downwardValue(pod *v1.Pod, item *v1.DownwardAPIVolumeFile, allocatable v1.ResourceList) (string, error) {
	switch {
	case item.FieldRef != nil:
		return fieldpath.ExtractFieldPathAsString(pod, item.FieldRef.FieldPath)
	case item.ResourceFieldRef != nil:
		return resourceValue(pod, item.ResourceFieldRef, allocatable)
	}
	return "", fmt.Errorf("downwardAPI file %s names neither a field nor a resource", item.Path)
}

func resourceValue(pod *v1.Pod, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
	for _, c := range allContainers(pod) {
		if c.Name != ref.ContainerName {
			continue
		}
		withLimits := c.DeepCopy()
		withLimits.Resources.Limits = pods.EffectiveLimits(pod, c, allocatable)
		return resourcehelper.ExtractContainerResourceValue(ref, withLimits)
	}
	return "", fmt.Errorf("container %s not found", ref.ContainerName)
}
