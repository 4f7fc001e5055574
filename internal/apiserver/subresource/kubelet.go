package subresource

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Kubelet speaks to nodes' agents over TLS.
type Kubelet struct {
	nodes     rest.Getter
	transport *http.Transport
	insecure  *http.Transport // for logs when the client asked for it
}

const defaultKubeletPort = 10250

// NewKubelet takes the client side's TLS; nil means that no node is spoken to.
func NewKubelet(nodes rest.Getter, c *tls.Config) *Kubelet {
	k := &Kubelet{nodes: nodes}
	if c == nil {
		return k
	}
	k.transport = transportWith(c)
	insecure := c.Clone()
	insecure.InsecureSkipVerify = true
	insecure.RootCAs = nil
	k.insecure = transportWith(insecure)
	return k
}

func transportWith(c *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     c,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     time.Minute,
	}
}

// Close drops idle connections.
func (k *Kubelet) Close() {
	if k.transport != nil {
		k.transport.CloseIdleConnections()
		k.insecure.CloseIdleConnections()
	}
}

// Summary asks a node what it and its pods use of CPU and memory.
func (k *Kubelet) Summary(ctx context.Context, node string) (*statsapi.Summary, error) {
	u, err := k.at(ctx, node, &url.URL{Path: "/stats/summary", RawQuery: "only_cpu_and_memory=true"})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := k.transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask node %s: %s", node, response.Status)
	}
	summary := &statsapi.Summary{}
	if err := json.NewDecoder(response.Body).Decode(summary); err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	return summary, nil
}

// at completes path with the scheme and address of the named node's agent.
func (k *Kubelet) at(ctx context.Context, node string, path *url.URL) (*url.URL, error) {
	if k.transport == nil {
		return nil, apierrors.NewServiceUnavailable("this server has no credentials for nodes")
	}
	obj, err := k.nodes.Get(ctx, node, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	host, err := kubeletAddress(obj.(*corev1.Node))
	if err != nil {
		return nil, err
	}
	u := *path
	u.Scheme, u.Host = "https", host
	return &u, nil
}

// kubeletAddress prefers addresses that need no resolver.
func kubeletAddress(n *corev1.Node) (string, error) {
	port := int(n.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = defaultKubeletPort
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName} {
		for _, a := range n.Status.Addresses {
			if a.Type == kind {
				return net.JoinHostPort(a.Address, strconv.Itoa(port)), nil
			}
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("node %q has no address", n.Name))
}
