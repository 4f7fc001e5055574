package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/quickstart"
	"github.com/proa-project/proa/internal/runtime/images"
)

// quickstartPatience bounds the wait for the first pod.
const quickstartPatience = time.Minute

func newQuickstart(where locate) *cobra.Command {
	return &cobra.Command{
		Use:   "quickstart",
		Short: "Run a first pod, from an image that is built in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			return runQuickstart(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), l)
		},
	}
}

func runQuickstart(ctx context.Context, out, progress io.Writer, l layout.Layout) error {
	status, err := control.Dial(l.Control()).Status(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w; start it with: proa up --data-dir %s", err, l.Data)
	}
	if err != nil {
		return err
	}
	if status.Kubeconfig == "" {
		return elsewhere(status)
	}
	client, err := clientFor(status.Kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quickstartPatience)
	defer cancel()
	if err := slowly(progress, "Waiting for the built-in image", func() error { return awaitImage(ctx, l) }); err != nil {
		return err
	}
	began := time.Now()
	if err := applyQuickstart(ctx, client); err != nil {
		return err
	}
	var pod *v1.Pod
	err = slowly(progress, "Waiting for pod "+quickstart.Pod, func() (err error) {
		pod, err = awaitPod(ctx, client, quickstart.Pod)
		return err
	})
	if err != nil {
		return err
	}
	printQuickstart(out, pod, status, time.Since(began))
	return nil
}

// clientFor the cluster of a kubeconfig file.
func clientFor(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// awaitImage: a cluster that has just started may still be importing it.
func awaitImage(ctx context.Context, l layout.Layout) error {
	return withImages(ctx, func() (layout.Layout, error) { return l, nil }, func(m images.Manager) error {
		for {
			all, err := m.List(ctx)
			if err != nil {
				return err
			}
			for _, i := range all {
				if slices.Contains(i.Tags, quickstart.Ref) {
					return nil
				}
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the built-in image %s was not imported; see %s", quickstart.Ref, l.ServerLog())
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

// applyQuickstart makes what the manifest says, or leaves what is there alone.
func applyQuickstart(ctx context.Context, client kubernetes.Interface) error {
	force := true
	options := metav1.PatchOptions{FieldManager: "proa-quickstart", Force: &force}
	for _, document := range quickstart.Documents() {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return fmt.Errorf("built-in manifest: %w", err)
		}
		var err error
		switch kind.Kind {
		case "ConfigMap":
			_, err = client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Patch(ctx, quickstart.Pod, types.ApplyPatchType, document, options)
		case "Pod":
			_, err = client.CoreV1().Pods(metav1.NamespaceDefault).Patch(ctx, quickstart.Pod, types.ApplyPatchType, document, options)
		}
		if err != nil {
			return fmt.Errorf("apply the built-in %s: %w", kind.Kind, err)
		}
	}
	return nil
}

// awaitPod returns the pod once it is Ready.
func awaitPod(ctx context.Context, client kubernetes.Interface, name string) (*v1.Pod, error) {
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	w, err := pods.Watch(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: name}))
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	var last *v1.Pod
	for e := range w.ResultChan() {
		pod, ok := e.Object.(*v1.Pod)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
				return pod, nil
			}
		}
		last = pod
	}
	if last == nil {
		return nil, fmt.Errorf("pod %s did not appear", name)
	}
	return nil, fmt.Errorf("pod %s is not Ready (phase %s); `proa why %s` says what it waits for", name, last.Status.Phase, name)
}

// calledAs is how the user calls this program: by a path, if it is not on theirs.
func calledAs() string {
	if strings.Contains(os.Args[0], "/") {
		return os.Args[0]
	}
	return "proa"
}

// naming is the flag that says which cluster, if it is not the usual one.
func naming(dataDir string) string {
	if dataDir == layout.DefaultData {
		return ""
	}
	return " --data-dir " + dataDir
}

func printQuickstart(w io.Writer, pod *v1.Pod, status control.Status, took time.Duration) {
	fmt.Fprintf(w, `
pod %[1]s is Ready after %.1[2]f s: http://%[3]s:%[4]d

Try next:
  export KUBECONFIG=%[5]s
  kubectl get pods -o wide
  kubectl exec %[1]s -- /quickstart --help
  kubectl port-forward %[1]s %[4]d

No kubectl here? "%[6]s kubectl" is the real one, built in.
"%[6]s why %[1]s%[7]s" says what a pod does and why; "%[6]s down%[7]s" stops everything.
`, pod.Name, took.Seconds(), pod.Status.PodIP, quickstart.Port, status.Kubeconfig, calledAs(), naming(status.DataDir))
}
