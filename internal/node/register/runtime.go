package register

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of what a node reports of its images, so that the object stays small.
const (
	maxImages     = 50
	maxImageNames = 5
)

// runtimeHealth returns why the runtime can't run pods, in upstream's words, or nil.
func runtimeHealth(status *runtimeapi.RuntimeStatus, err error) error {
	if err != nil || status == nil {
		return errors.New("container runtime is down")
	}
	var problems []error
	runtimeReady, networkReady := condition(status, runtimeapi.RuntimeReady), condition(status, runtimeapi.NetworkReady)
	if !runtimeReady.GetStatus() {
		problems = append(problems, fmt.Errorf("container runtime not ready: %s", describe(runtimeapi.RuntimeReady, runtimeReady)))
	}
	if !networkReady.GetStatus() {
		problems = append(problems, fmt.Errorf("container runtime network not ready: %s", describe(runtimeapi.NetworkReady, networkReady)))
	}
	return joinProblems(problems)
}

func condition(status *runtimeapi.RuntimeStatus, kind string) *runtimeapi.RuntimeCondition {
	for _, c := range status.GetConditions() {
		if c.GetType() == kind {
			return c
		}
	}
	return nil
}

func describe(kind string, c *runtimeapi.RuntimeCondition) string {
	if c == nil {
		return kind + " is not reported"
	}
	return fmt.Sprintf("%s=%t reason:%s message:%s", kind, c.GetStatus(), c.GetReason(), c.GetMessage())
}

// joinProblems puts several problems on one line, as conditions show them: [a, b].
func joinProblems(problems []error) error {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return problems[0]
	}
	text := "["
	for i, problem := range problems {
		if i > 0 {
			text += ", "
		}
		text += problem.Error()
	}
	return errors.New(text + "]")
}

func runtimeHandlers(handlers []*runtimeapi.RuntimeHandler) []v1.NodeRuntimeHandler {
	var out []v1.NodeRuntimeHandler
	for _, h := range handlers {
		handler := v1.NodeRuntimeHandler{Name: h.GetName()}
		if f := h.GetFeatures(); f != nil {
			recursive, users := f.GetRecursiveReadOnlyMounts(), f.GetUserNamespaces()
			handler.Features = &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &recursive, UserNamespaces: &users}
		}
		out = append(out, handler)
	}
	slices.SortFunc(out, func(a, b v1.NodeRuntimeHandler) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// reportedImages lists the largest images with their names, digests first.
func reportedImages(images []*runtimeapi.Image) []v1.ContainerImage {
	var out []v1.ContainerImage
	for _, image := range images {
		names := slices.Concat(image.GetRepoDigests(), image.GetRepoTags())
		if len(names) == 0 {
			continue
		}
		out = append(out, v1.ContainerImage{Names: names[:min(len(names), maxImageNames)], SizeBytes: int64(image.GetSize())})
	}
	slices.SortFunc(out, func(a, b v1.ContainerImage) int {
		return cmp.Or(cmp.Compare(b.SizeBytes, a.SizeBytes), cmp.Compare(a.Names[0], b.Names[0]))
	})
	return out[:min(len(out), maxImages)]
}
