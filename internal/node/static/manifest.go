package static

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
)

// Annotations of static pods, known to stock clients (kubectl drain looks for the mirror's).
const (
	AnnotationSource = "kubernetes.io/config.source"
	AnnotationHash   = "kubernetes.io/config.hash"
	AnnotationSeen   = "kubernetes.io/config.seen"
	AnnotationMirror = "kubernetes.io/config.mirror"
)

// Rules are the API's own for pods, which static pods obey too.
type Rules struct {
	// Default fills in what a manifest leaves out; Validate finds what is wrong. Both may be nil.
	Default  func(*v1.Pod)
	Validate func(*v1.Pod) field.ErrorList
}

// origin is where a manifest is from: kind "file" or "http", and the place.
type origin struct {
	kind, place string
}

// parse reads manifests (YAML or JSON; Pods, a PodList, several documents) and completes the pods for the node.
func parse(data []byte, from origin, node string, rules Rules) ([]*v1.Pod, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("manifest is empty")
	}
	pods, err := decode(data)
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		if err := complete(pod, from, node, rules); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

func decode(data []byte) ([]*v1.Pod, error) {
	var pods []*v1.Pod
	for documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var raw json.RawMessage
		err := documents.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return pods, nil
		}
		if err != nil {
			return nil, fmt.Errorf("invalid manifest: %w", err)
		}
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		found, err := decodeDocument(raw)
		if err != nil {
			return nil, err
		}
		pods = append(pods, found...)
	}
}

func decodeDocument(raw []byte) ([]*v1.Pod, error) {
	var kind metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &kind); err != nil {
		return nil, fmt.Errorf("invalid manifest: %w", err)
	}
	switch {
	case kind.APIVersion == "v1" && kind.Kind == "Pod":
		pod := &v1.Pod{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, pod); err != nil {
			return nil, fmt.Errorf("invalid pod: %w", err)
		}
		return []*v1.Pod{pod}, nil
	case kind.APIVersion == "v1" && kind.Kind == "PodList":
		var list v1.PodList
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &list); err != nil {
			return nil, fmt.Errorf("invalid pod list: %w", err)
		}
		pods := make([]*v1.Pod, 0, len(list.Items))
		for i := range list.Items {
			pods = append(pods, &list.Items[i])
		}
		return pods, nil
	}
	return nil, fmt.Errorf("invalid manifest: a Pod of apiVersion v1 is needed, not %q of %q", kind.Kind, kind.APIVersion)
}

// complete makes a manifest's pod one that can run: a UID by its content, the node's name, defaults; and checks it.
func complete(pod *v1.Pod, from origin, node string, rules Rules) error {
	if pod.Name == "" {
		return errors.New("invalid pod: name is needed for the pod")
	}
	if pod.UID == "" {
		uid, err := contentUID(pod, from, node)
		if err != nil {
			return err
		}
		pod.UID = uid
	}
	pod.TypeMeta = metav1.TypeMeta{}
	pod.Name += "-" + strings.ToLower(node)
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	pod.Spec.NodeName = node
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[AnnotationSource] = from.kind
	pod.Annotations[AnnotationHash] = string(pod.UID)
	if from.kind == "file" {
		tolerateAll(pod)
	}
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	if rules.Default != nil {
		rules.Default(pod)
	}
	if rules.Validate != nil {
		if errs := rules.Validate(pod); len(errs) > 0 {
			return fmt.Errorf("invalid pod: %w", errs.ToAggregate())
		}
	}
	if kind := reference(pod); kind != "" {
		return fmt.Errorf("static pods may not reference %s", kind)
	}
	return nil
}

// contentUID is the same as long as nothing in the manifest changes, over restarts too, and differs between nodes and places.
func contentUID(pod *v1.Pod, from origin, node string) (types.UID, error) {
	content, err := json.Marshal(pod)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, part := range [][]byte{content, []byte(from.kind), []byte(from.place), []byte(node)} {
		hash.Write(part)
		hash.Write([]byte{0})
	}
	return types.UID(hex.EncodeToString(hash.Sum(nil)[:16])), nil
}

// tolerateAll keeps a pod of a file where it is: nothing can bring it elsewhere.
func tolerateAll(pod *v1.Pod) {
	want := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	for i := range pod.Spec.Tolerations {
		if pod.Spec.Tolerations[i].MatchToleration(&want) {
			return
		}
	}
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, want)
}

// seen stamps the pods with when they first came; a pod that stays keeps its stamp.
func stampSeen(pods []*v1.Pod, before map[types.UID]string, now time.Time) map[types.UID]string {
	after := map[types.UID]string{}
	for _, pod := range pods {
		stamp, known := before[pod.UID]
		if !known {
			stamp = now.Format(time.RFC3339Nano)
		}
		after[pod.UID] = stamp
		pod.Annotations[AnnotationSeen] = stamp
	}
	return after
}
