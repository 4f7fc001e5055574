package volume

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// trustAnchors joins the certificates of the bundles that the projection selects, each once, in a stable order.
func trustAnchors(found []runtime.Object, want *v1.ClusterTrustBundleProjection) ([]byte, error) {
	selector := labels.Everything()
	if want.Name == nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(want.LabelSelector); err != nil {
			return nil, fmt.Errorf("while parsing label selector: %w", err)
		}
	}
	var blocks [][]byte
	matched := false
	for _, obj := range found {
		bundle, ok := obj.(*certificatesv1.ClusterTrustBundle)
		if !ok || !selector.Matches(labels.Set(bundle.Labels)) {
			continue
		}
		matched = true
		for rest := []byte(bundle.Spec.TrustBundle); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			blocks = append(blocks, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
	if !matched && (want.Optional == nil || !*want.Optional) {
		return nil, errors.New("combination of signerName and labelSelector matched zero ClusterTrustBundles")
	}
	slices.SortFunc(blocks, bytes.Compare)
	return bytes.Join(slices.CompactFunc(blocks, bytes.Equal), nil), nil
}
