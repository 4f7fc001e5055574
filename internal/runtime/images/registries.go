package images

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"sigs.k8s.io/yaml"
)

// Registries is the content of registries.yaml. The keys are the hosts of image
// names ("docker.io", "localhost:5000"); "*" stands for all that are not named.
//
//	registries:
//	  docker.io:
//	    mirrors: ["http://127.0.0.1:5000", "https://mirror.example/dockerhub"]
//	  registry.example:5000:
//	    plainHTTP: true
//	  private.example:
//	    caFile: /etc/ssl/private-ca.pem
//	    username: puller
//	    password: secret
//
// Registries on loopback addresses are spoken to in plain HTTP without being named.
type Registries struct {
	Registries map[string]Registry `json:"registries"`
}

// Registry says how one registry is reached.
type Registry struct {
	// Mirrors are asked before the registry itself, in order. Their TLS settings
	// and credentials are those of the entry named as their host.
	Mirrors []string `json:"mirrors,omitempty"`
	// MirrorOnly never asks the registry itself.
	MirrorOnly bool `json:"mirrorOnly,omitempty"`

	PlainHTTP          bool   `json:"plainHTTP,omitempty"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify,omitempty"`
	CAFile             string `json:"caFile,omitempty"`
	CertFile           string `json:"certFile,omitempty"`
	KeyFile            string `json:"keyFile,omitempty"`

	// Credentials used when a pull brings none.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// loadRegistries reads the first of the files that exists. They are read at
// every pull, so that an edit takes effect without a restart.
func loadRegistries(paths []string) (Registries, error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Registries{}, fmt.Errorf("registries: %w", err)
		}
		var r Registries
		if err := yaml.UnmarshalStrict(data, &r); err != nil {
			return Registries{}, fmt.Errorf("registries: %s: %w", path, err)
		}
		if err := r.validate(); err != nil {
			return Registries{}, fmt.Errorf("registries: %s: %w", path, err)
		}
		return r, nil
	}
	return Registries{}, nil
}

func (r Registries) validate() error {
	for host, reg := range r.Registries {
		for _, m := range reg.Mirrors {
			u, err := url.Parse(m)
			if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
				return fmt.Errorf("%s: mirror %q is not like http://host:port or https://host/path", host, m)
			}
		}
		if reg.MirrorOnly && len(reg.Mirrors) == 0 {
			return fmt.Errorf("%s: mirrorOnly without mirrors", host)
		}
		if (reg.CertFile == "") != (reg.KeyFile == "") {
			return fmt.Errorf("%s: certFile and keyFile come together", host)
		}
	}
	return nil
}

func (r Registries) get(host string) Registry {
	if reg, ok := r.Registries[host]; ok {
		return reg
	}
	return r.Registries["*"]
}

// endpoint is one server to ask for the images of a registry.
type endpoint struct {
	Scheme, Host, Path string
	Settings           Registry
	Mirror             bool
}

// endpoints of the registry that names call host, in the order to ask them.
func (r Registries) endpoints(host string) ([]endpoint, error) {
	reg := r.get(host)
	var out []endpoint
	for _, m := range reg.Mirrors {
		u, err := url.Parse(m)
		if err != nil {
			return nil, err
		}
		path := strings.TrimSuffix(u.Path, "/")
		if !strings.HasPrefix(path, "/v2") {
			path = "/v2" + path
		}
		settings := r.Registries[u.Host] // never "*": that is about registries, not their mirrors
		out = append(out, endpoint{Scheme: u.Scheme, Host: u.Host, Path: path, Settings: settings, Mirror: true})
	}
	if reg.MirrorOnly {
		return out, nil
	}
	self := endpoint{Scheme: "https", Host: host, Path: "/v2", Settings: reg}
	loopback, err := docker.MatchLocalhost(host)
	if err != nil {
		return nil, err
	}
	if reg.PlainHTTP || loopback {
		self.Scheme = "http"
	}
	if host == "docker.io" {
		self.Host = "registry-1.docker.io"
	}
	return append(out, self), nil
}

// client makes the HTTP client for an endpoint.
func (e endpoint) client() (*http.Client, error) {
	// Skipping the verification is the user's own setting.
	config := &tls.Config{InsecureSkipVerify: e.Settings.InsecureSkipVerify}
	if e.Settings.CAFile != "" {
		pem, err := os.ReadFile(e.Settings.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", e.Settings.CAFile)
		}
	}
	if e.Settings.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(e.Settings.CertFile, e.Settings.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return &http.Client{Transport: docker.DefaultHTTPTransport(config)}, nil
}

// remote is the registries as one pull sees them: its connections and tokens are
// shared by its requests and end with it.
type remote struct {
	registries Registries
	auth       *Auth // for the registry itself, never sent to a mirror

	mu    sync.Mutex
	hosts map[string][]docker.RegistryHost
}

func (r *remote) resolver() remotes.Resolver {
	return docker.NewResolver(docker.ResolverOptions{Hosts: r.lookup})
}

func (r *remote) lookup(host string) ([]docker.RegistryHost, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hosts, ok := r.hosts[host]; ok {
		return hosts, nil
	}
	endpoints, err := r.registries.endpoints(host)
	if err != nil {
		return nil, err
	}
	var hosts []docker.RegistryHost
	for _, e := range endpoints {
		h, err := r.host(e)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", e.Host, err)
		}
		hosts = append(hosts, h)
	}
	if r.hosts == nil {
		r.hosts = map[string][]docker.RegistryHost{}
	}
	r.hosts[host] = hosts
	return hosts, nil
}

func (r *remote) host(e endpoint) (docker.RegistryHost, error) {
	client, err := e.client()
	if err != nil {
		return docker.RegistryHost{}, err
	}
	creds := Auth{Username: e.Settings.Username, Password: e.Settings.Password}
	if r.auth != nil && !e.Mirror {
		creds = *r.auth
	}
	header := http.Header{"User-Agent": {"proa"}}
	if creds.RegistryToken != "" {
		header.Set("Authorization", "Bearer "+creds.RegistryToken)
	}
	return docker.RegistryHost{
		Client: client, Scheme: e.Scheme, Host: e.Host, Path: e.Path, Header: header,
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		Authorizer:   docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(creds.forHost)),
	}, nil
}

// close lets go of idle connections.
func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, hosts := range r.hosts {
		for _, h := range hosts {
			h.Client.CloseIdleConnections()
		}
	}
}
