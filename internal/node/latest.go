package node

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// latestNode asks the API for the node, and doesn't wait long: pods do.
func (a *Agent) latestNode() *v1.Node {
	known := a.cfg.Node()
	if known == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	node, err := a.cfg.Client.CoreV1().Nodes().Get(ctx, known.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return node
}
