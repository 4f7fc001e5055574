package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	s.writePods(w, s.cfg.Pods.Pods())
}

// runningPods says what the runtime runs, as pods with nothing but their names.
func (s *Server) runningPods(w http.ResponseWriter, r *http.Request) {
	sandboxes, err := s.cfg.Runtime.ListPodSandbox(r.Context(), &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	containers, err := s.cfg.Runtime.ListContainers(r.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var pods []*v1.Pod
	for _, sandbox := range sandboxes.GetItems() {
		meta := sandbox.GetMetadata()
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: meta.GetName(), Namespace: meta.GetNamespace(), UID: types.UID(meta.GetUid()),
			CreationTimestamp: metav1.NewTime(time.Unix(0, sandbox.GetCreatedAt()))}}
		for _, c := range containers.GetContainers() {
			if c.GetPodSandboxId() == sandbox.GetId() {
				pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: c.GetMetadata().GetName(), Image: c.GetImage().GetImage()})
			}
		}
		pods = append(pods, pod)
	}
	s.writePods(w, pods)
}

func (s *Server) writePods(w http.ResponseWriter, pods []*v1.Pod) {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: make([]v1.Pod, 0, len(pods))}
	for _, pod := range pods {
		list.Items = append(list.Items, *pod)
	}
	s.writeJSON(w, list)
}

func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Stats == nil {
		http.NotFound(w, r)
		return
	}
	only, err := strconv.ParseBool(r.URL.Query().Get("only_cpu_and_memory"))
	if err != nil {
		only = false
	}
	summary, err := s.cfg.Stats(r.Context(), only)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.writeJSON(w, summary)
}

func (s *Server) configz(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Configz == nil {
		http.NotFound(w, r)
		return
	}
	s.writeJSON(w, map[string]any{"kubeletconfig": s.cfg.Configz})
}

func (s *Server) writeJSON(w http.ResponseWriter, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// Health serves /healthz and /healthz/<check>; it may also be served without TLS on loopback, as it tells no secrets.
func (s *Server) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names := slices.Sorted(maps.Keys(s.cfg.Checks))
		if name := r.PathValue("check"); name == "ping" {
			names = nil
		} else if name != "" {
			if s.cfg.Checks[name] == nil {
				http.NotFound(w, r)
				return
			}
			names = []string{name}
		}
		var report strings.Builder
		failed := false
		for _, name := range names {
			if err := s.cfg.Checks[name](r.Context()); err != nil {
				failed = true
				fmt.Fprintf(&report, "[-]%s failed: %v\n", name, err)
				continue
			}
			fmt.Fprintf(&report, "[+]%s ok\n", name)
		}
		if failed {
			http.Error(w, report.String()+"healthz check failed", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if r.URL.Query().Has("verbose") {
			fmt.Fprint(w, report.String()+"healthz check passed\n")
			return
		}
		fmt.Fprint(w, "ok")
	})
}
