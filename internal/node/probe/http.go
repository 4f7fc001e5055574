package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/httpget"
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
			TLSClientConfig:    httpget.TLS(),
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

// probe sends a GET: a status from 200 to 399 is success, and so is, with a warning, a redirect to another host, which isn't
// followed.
func (p *httpProber) probe(ctx context.Context, get *v1.HTTPGetAction, c *v1.Container, podIP string, limit time.Duration) (answer, error) {
	request, err := httpget.Request(ctx, get, c, podIP, "probe")
	if err != nil {
		return answer{}, err
	}
	client := http.Client{Transport: p.transport, Timeout: limit, CheckRedirect: httpget.SameHost}
	if get.Protocol != nil && *get.Protocol == v1.HTTPProtocolHTTP2 {
		client.Transport = p.cleartext2
	}
	response, err := client.Do(request)
	if err != nil {
		return failure(err.Error()), nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxOutput))
	switch {
	case err != nil:
		return answer{}, err
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return answer{verdict: Success, warning: true, output: "Probe terminated redirects, Response body: " + string(body)}, nil
	case response.StatusCode >= 200 && response.StatusCode < 300:
		return success(string(body)), nil
	}
	// Without the body: this becomes an event, and the body may hold secrets.
	return failure(fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)), nil
}
