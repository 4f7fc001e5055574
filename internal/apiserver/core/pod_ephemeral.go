package core

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// podEphemeralContainers is the update of kubectl debug: containers are added to
// a pod to look into it, and stay as they are.
func podEphemeralContainers() resource.Update {
	return resource.Update{
		PrepareUpdate: meta.PrepareUpdate(prepareEphemeral),
		CheckUpdate:   meta.CheckUpdate(checkEphemeral),
		Reset:         append([][]string{{"metadata"}, {"status"}}, podSpecFieldsBut("ephemeralContainers")...),
		Unconditional: true,
	}
}

func prepareEphemeral(pod, old *v1.Pod) {
	added := pod.Spec.EphemeralContainers
	pod.Spec = *old.Spec.DeepCopy()
	pod.Status = old.Status
	metav1.ResetObjectMetaForStatus(&pod.ObjectMeta, &old.ObjectMeta)
	pod.Spec.EphemeralContainers = added
	podspec.DropUnserved(&pod.Spec, pod.Annotations)
}

func checkEphemeral(pod, old *v1.Pod) field.ErrorList {
	if _, mirror := old.Annotations[v1.MirrorPodAnnotationKey]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	opts := tolerating(old)
	errs := meta.Join(checkPodObject(pod, opts), checkPodAnnotations(pod, old, opts))
	at := field.NewPath("spec", "ephemeralContainers")
	now := map[string]*v1.EphemeralContainer{}
	for i := range pod.Spec.EphemeralContainers { // by name, because a patch doesn't keep the order
		now[pod.Spec.EphemeralContainers[i].Name] = &pod.Spec.EphemeralContainers[i]
	}
	for i := range old.Spec.EphemeralContainers {
		was := &old.Spec.EphemeralContainers[i]
		if is := now[was.Name]; is == nil {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", was.Name)))
		} else if !equality.Semantic.DeepEqual(was, is) {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", was.Name, diff.Diff(*was, *is))))
		}
	}
	return errs
}
