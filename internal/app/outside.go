package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/util/sets"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/node/container"
)

// outsidePatience is for a runtime outside to end a cluster's sandboxes.
const outsidePatience = time.Minute

// endOutside ends the cluster's pods in the container runtime that it ran on, if
// that was not our own. Such a runtime has others' pods too: ours are those whose
// folders the cluster has.
func endOutside(ctx context.Context, l layout.Layout) error {
	socket, err := outsideSocket(l)
	if err != nil || socket == "" {
		return err
	}
	ours, err := podFolders(l)
	if err != nil || len(ours) == 0 {
		return err
	}
	conn, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("container runtime %s: %w", socket, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, outsidePatience)
	defer cancel()
	if err := endSandboxes(ctx, runtimeapi.NewRuntimeServiceClient(conn), ours); err != nil {
		return fmt.Errorf("end the pods in the container runtime %s: %w", socket, err)
	}
	return nil
}

func endSandboxes(ctx context.Context, runtime runtimeapi.RuntimeServiceClient, pods sets.Set[string]) error {
	list, err := runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range list.Items {
		if !pods.Has(s.Labels[container.LabelPodUID]) {
			continue
		}
		if _, err := runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			failed = append(failed, err)
			continue
		}
		if _, err := runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// outsideSocket is the one that the cluster last ran on; empty for our own runtime.
func outsideSocket(l layout.Layout) (string, error) {
	c, err := readCluster(l.Cluster())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return c.Runtime, err
}

// podFolders are named by the pods' UIDs.
func podFolders(l layout.Layout) (sets.Set[string], error) {
	dirs, err := os.ReadDir(l.Pods())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pods' folders: %w", err)
	}
	uids := sets.New[string]()
	for _, d := range dirs {
		uids.Insert(d.Name())
	}
	return uids, nil
}
