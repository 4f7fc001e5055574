// Package httpget turns the httpGet of a probe or a lifecycle hook into a request.
// What such a request says of itself, and how it treats redirects and certificates,
// is the same for both.
package httpget

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Version of Kubernetes that requests tell servers, as kube-probe/1.37.
const Version = "1.37"

// Request makes the request; purpose is "probe" or "lifecycle".
func Request(ctx context.Context, get *v1.HTTPGetAction, c *v1.Container, podIP, purpose string) (*http.Request, error) {
	port, err := Port(get.Port, c)
	if err != nil {
		return nil, err
	}
	host := get.Host
	if host == "" {
		host = podIP
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target(get, host, port), nil)
	if err != nil {
		return nil, err
	}
	setHeaders(request, get.HTTPHeaders, "kube-"+purpose+"/"+Version)
	return request, nil
}

func target(get *v1.HTTPGetAction, host string, port int) string {
	u, err := url.Parse(get.Path)
	if err != nil { // the API let it in: let the server say what it thinks of it
		u = &url.URL{Path: get.Path}
	}
	u.Scheme = "http"
	if get.Scheme != "" {
		u.Scheme = strings.ToLower(string(get.Scheme))
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(port))
	return u.String()
}

// setHeaders: an empty Accept takes ours away.
func setHeaders(request *http.Request, headers []v1.HTTPHeader, userAgent string) {
	for _, h := range headers {
		request.Header.Add(h.Name, h.Value)
	}
	if _, set := request.Header["User-Agent"]; !set {
		request.Header.Set("User-Agent", userAgent)
	}
	if _, set := request.Header["Accept"]; !set {
		request.Header.Set("Accept", "*/*")
	} else if request.Header.Get("Accept") == "" {
		request.Header.Del("Accept")
	}
	request.Host = request.Header.Get("Host")
}

// Port finds a port by its number, or by its name among the container's.
func Port(port intstr.IntOrString, c *v1.Container) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String && number == 0 {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
		if number == 0 {
			return 0, fmt.Errorf("couldn't find port: %v for container %q", port.StrVal, c.Name)
		}
	}
	if number <= 0 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", number)
	}
	return number, nil
}

// TLS asks whether, not who: pods serve certificates of their own.
func TLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// SameHost follows redirects within the host: the question is of the container, not
// of where it sends browsers.
func SameHost(next *http.Request, via []*http.Request) error {
	if next.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}
