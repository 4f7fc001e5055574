package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reportInUse has the Node say which attached volumes its pods have: none of them
// is detached before it is out of the list, so it must be in it before a driver
// touches it. The records are the list.
func (m *Manager) reportInUse(ctx context.Context) error {
	m.reporting.Lock()
	defer m.reporting.Unlock()
	all, err := records(filepath.Join(m.cfg.Pods, "*", "volumes", PluginFolder, "*"))
	if err != nil {
		return err
	}
	inUse := []v1.UniqueVolumeName{}
	for _, r := range all {
		if r.Attachment != "" {
			inUse = append(inUse, v1.UniqueVolumeName(pluginName+"/"+r.Driver+"^"+r.Handle))
		}
	}
	slices.Sort(inUse)
	inUse = slices.Compact(inUse)
	if m.reported != nil && slices.Equal(m.reported, inUse) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"volumesInUse": inUse}})
	if err != nil {
		return err
	}
	if _, err := m.cfg.Client.CoreV1().Nodes().Patch(ctx, m.cfg.Node, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("report volumes in use: %w", err)
	}
	m.reported = inUse
	return nil
}
