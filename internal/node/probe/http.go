package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// httpProber holds the transports of all HTTP probes. Each probe makes its own connection: a server that no longer accepts is
// not healthy, whatever old connections do.
type httpProber struct {
	transport *http.Transport
	// cleartext2 speaks HTTP/2 without TLS, where a probe asks for it.
	cleartext2 *http.Transport
}

func newHTTPProber() *httpProber {
	base := func() *http.Transport {
		return &http.Transport{
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // Probes ask whether, not who: pods serve certificates of their own.
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext:        dialer(0).DialContext,
		}
	}
	p := &httpProber{transport: base(), cleartext2: base()}
	p.cleartext2.Protocols = new(http.Protocols)
	p.cleartext2.Protocols.SetUnencryptedHTTP2(true)
	return p
}

// probe sends a GET: a status from 200 to 399 is success, and so is a redirect to another host, which isn't followed.
func (p *httpProber) probe(ctx context.Context, get *v1.HTTPGetAction, host string, port int, limit time.Duration) (Verdict, string, error) {
	request, err := httpRequest(ctx, get, host, port)
	if err != nil {
		return Unknown, "", err
	}
	client := http.Client{Transport: p.transport, Timeout: limit, CheckRedirect: sameHost}
	if get.Protocol != nil && *get.Protocol == v1.HTTPProtocolHTTP2 {
		client.Transport = p.cleartext2
	}
	answer, err := client.Do(request)
	if err != nil {
		return Failure, err.Error(), nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxOutput))
	switch {
	case err != nil:
		return Failure, err.Error(), nil
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return Success, "Probe terminated redirects, Response body: " + string(body), nil
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return Success, string(body), nil
	}
	// Without the body: this becomes an event, and the body may hold secrets.
	return Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", answer.StatusCode), nil
}

func httpRequest(ctx context.Context, get *v1.HTTPGetAction, host string, port int) (*http.Request, error) {
	target, err := url.Parse(get.Path)
	if err != nil {
		target = &url.URL{Path: get.Path}
	}
	target.Scheme = "http"
	if get.Scheme != "" {
		target.Scheme = strings.ToLower(string(get.Scheme))
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, header := range get.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
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
	return request, nil
}

// sameHost follows redirects within the host: a probe is of the container, not of where it sends browsers.
func sameHost(next *http.Request, via []*http.Request) error {
	if next.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}
