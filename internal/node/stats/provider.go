package stats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const (
	// rateOver is the least time between the samples of a rate.
	rateOver = 5 * time.Second
	// A measurement of a pod's folders is good for so many times as long as it took to walk them, within bounds.
	diskShare           = 20
	diskLeast, diskMost = 5 * time.Second, time.Minute
)

// Runtime is what the provider asks of the container runtime.
type Runtime interface {
	ListPodSandboxStats(context.Context, *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error)
}

// Images is what it asks of the image service.
type Images interface {
	ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error)
}

// Config of a Provider.
type Config struct {
	NodeName string
	Runtime  Runtime
	// Images may be nil.
	Images Images
	Pods   func() []*v1.Pod
	// ImagesDir holds images and containers' layers, perhaps on a file system of its own; empty is in DataDir.
	ImagesDir string
	// DataDir is on the node's file system; PodsDir holds the pods' folders by UID, LogsDir their logs as
	// <namespace>_<name>_<uid>/<container>.
	DataDir, PodsDir, LogsDir string
	// Root is the machine's file system; nil is "/".
	Root fs.FS
	Log  *slog.Logger
}

// Provider samples the node.
type Provider struct {
	cfg Config

	mu           sync.Mutex
	older, newer Host

	measuring sync.Mutex // held while folders are walked
	disks     map[string]measured
}

// measured is what a pod was found to use, and until when that is good.
type measured struct {
	disk PodDisk
	good time.Time
}

// New makes a Provider.
func New(cfg Config) (*Provider, error) {
	if cfg.Runtime == nil || cfg.Pods == nil || cfg.DataDir == "" {
		return nil, errors.New("node stats: Runtime, Pods and DataDir are needed")
	}
	if cfg.Root == nil {
		cfg.Root = os.DirFS("/")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Provider{cfg: cfg}, nil
}

// Summary samples everything, or CPU and memory only.
func (p *Provider) Summary(ctx context.Context, onlyCPUAndMemory bool) (*statsapi.Summary, error) {
	host, before, err := p.sample()
	if err != nil {
		return nil, err
	}
	sandboxes, err := p.cfg.Runtime.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil {
		return nil, fmt.Errorf("list stats of pods: %w", err)
	}
	in := Input{Node: p.cfg.NodeName, Host: host, Before: before, Sandboxes: sandboxes.GetStats(), Pods: p.cfg.Pods()}
	if !onlyCPUAndMemory {
		if err := p.addDisk(ctx, &in); err != nil {
			return nil, err
		}
	}
	return Summarize(in), nil
}

// Node samples the machine and its file system alone, without a look at any pod: the cheap part, for those who look often.
func (p *Provider) Node(context.Context) (*statsapi.NodeStats, error) {
	host, before, err := p.sample()
	if err != nil {
		return nil, err
	}
	in := Input{Node: p.cfg.NodeName, Host: host, Before: before}
	if err := p.addFileSystems(&in); err != nil {
		return nil, err
	}
	node := nodeStats(in)
	return &node, nil
}

func (p *Provider) addFileSystems(in *Input) error {
	disk, err := ReadFileSystem(p.cfg.DataDir)
	if err != nil {
		return err
	}
	in.Disk = &disk
	if p.cfg.ImagesDir == "" || !Apart(p.cfg.DataDir, p.cfg.ImagesDir) {
		return nil
	}
	images, err := ReadFileSystem(p.cfg.ImagesDir)
	if err != nil {
		return err
	}
	in.ImageDisk = &images
	return nil
}

// sample reads the machine and returns an earlier sample that is old enough for a rate.
func (p *Provider) sample() (now, before Host, err error) {
	now, err = ReadHost(p.cfg.Root, time.Now())
	if err != nil {
		return Host{}, Host{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newer.At.IsZero() || now.At.Sub(p.newer.At) >= rateOver {
		p.older, p.newer = p.newer, now
	}
	return now, p.older, nil
}

func (p *Provider) addDisk(ctx context.Context, in *Input) error {
	if err := p.addFileSystems(in); err != nil {
		return err
	}
	if p.cfg.Images != nil {
		info, err := p.cfg.Images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
		if err != nil {
			p.cfg.Log.Warn("image store not measured", "err", err)
		} else {
			in.Images = &Usage{}
			for _, store := range info.GetImageFilesystems() {
				in.Images.Add(Usage{store.GetUsedBytes().GetValue(), store.GetInodesUsed().GetValue()})
			}
		}
	}
	in.PodDisks = p.podDisks(in.Pods)
	return nil
}

// podDisks measures the pods' folders, each as often as it is cheap.
func (p *Provider) podDisks(pods []*v1.Pod) map[string]PodDisk {
	p.measuring.Lock()
	defer p.measuring.Unlock()
	out, kept := map[string]PodDisk{}, map[string]measured{}
	for _, pod := range pods {
		uid, began := string(pod.UID), time.Now()
		m, known := p.disks[uid]
		if !known || !began.Before(m.good) {
			m.disk = MeasurePod(p.cfg.PodsDir, p.cfg.LogsDir, pod)
			m.good = time.Now().Add(goodFor(time.Since(began)))
		}
		out[uid], kept[uid] = m.disk, m
	}
	p.disks = kept
	return out
}

// goodFor is how long a measurement that took so long is good.
func goodFor(took time.Duration) time.Duration { return min(max(took*diskShare, diskLeast), diskMost) }

// MeasurePod walks a pod's volumes and logs.
func MeasurePod(podsDir, logsDir string, pod *v1.Pod) PodDisk {
	out := PodDisk{Volumes: volumeUsages(filepath.Join(podsDir, string(pod.UID))), Logs: map[string]Usage{}}
	dir := filepath.Join(logsDir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return out
	}
	for _, entry := range entries {
		if used, err := DiskUsage(filepath.Join(dir, entry.Name())); err == nil {
			out.Logs[entry.Name()] = used
		}
	}
	return out
}

// Agent serves /metrics.
func (p *Provider) Agent() http.Handler { return p.metrics(agentMetrics) }

// Resource serves /metrics/resource, which metrics-server reads.
func (p *Provider) Resource() http.Handler { return p.metrics(resourceMetrics) }

// CAdvisor serves the part of /metrics/cadvisor that dashboards mostly use.
func (p *Provider) CAdvisor() http.Handler { return p.metrics(cadvisorMetrics) }

func (p *Provider) metrics(write func(*exposition, *statsapi.Summary)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &exposition{}
		summary, err := p.Summary(r.Context(), true)
		if err != nil {
			p.cfg.Log.Warn("metrics without stats", "err", err)
			summary = nil
		}
		write(out, summary)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(out.bytes())
	})
}
