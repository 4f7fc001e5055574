package controllers

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/accounttoken"
	"github.com/proa-project/proa/internal/controllers/attachdetach"
	"github.com/proa-project/proa/internal/controllers/autoscale"
	"github.com/proa-project/proa/internal/controllers/bootstraptoken"
	"github.com/proa-project/proa/internal/controllers/certificates"
	"github.com/proa-project/proa/internal/controllers/clusterdns"
	"github.com/proa-project/proa/internal/controllers/cronjob"
	"github.com/proa-project/proa/internal/controllers/daemonset"
	"github.com/proa-project/proa/internal/controllers/deployment"
	"github.com/proa-project/proa/internal/controllers/disruption"
	"github.com/proa-project/proa/internal/controllers/endpoints"
	"github.com/proa-project/proa/internal/controllers/endpointslice"
	"github.com/proa-project/proa/internal/controllers/endpointslicemirroring"
	"github.com/proa-project/proa/internal/controllers/ephemeralvolume"
	"github.com/proa-project/proa/internal/controllers/garbage"
	"github.com/proa-project/proa/internal/controllers/job"
	"github.com/proa-project/proa/internal/controllers/namespace"
	"github.com/proa-project/proa/internal/controllers/nodelifecycle"
	"github.com/proa-project/proa/internal/controllers/noderange"
	"github.com/proa-project/proa/internal/controllers/persistentvolume"
	"github.com/proa-project/proa/internal/controllers/podgc"
	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/controllers/replicaset"
	"github.com/proa-project/proa/internal/controllers/replicationcontroller"
	"github.com/proa-project/proa/internal/controllers/resourcequota"
	"github.com/proa-project/proa/internal/controllers/rootca"
	"github.com/proa-project/proa/internal/controllers/serviceaccount"
	"github.com/proa-project/proa/internal/controllers/statefulset"
	"github.com/proa-project/proa/internal/controllers/storageprotection"
	"github.com/proa-project/proa/internal/controllers/tainteviction"
	"github.com/proa-project/proa/internal/controllers/ttl"
)

// Deps is what controllers work with. The factory's informers are started by the
// caller, after All.
type Deps struct {
	Client    kubernetes.Interface
	Metadata  metadata.Interface
	Informers informers.SharedInformerFactory
	Recorder  func(component string) record.EventRecorder
	Clock     clock.WithTicker
	CA        []byte // PEM, what pods trust the API server by
	// Signer of certificates; without one, requests are approved by nobody here
	// and stay unsigned.
	Signer certificates.Authority
	// Nodes says which addresses nodes' pods get; nil where nodes bring their own.
	Nodes *noderange.Config
	// DNS are the addresses of the service of the nodes' resolvers, one a family;
	// none if nodes run none.
	DNS []netip.Addr
}

// All makes every controller, each to be run by its Run.
func All(d Deps) ([]*reconcile.Loop, error) {
	var loops []*reconcile.Loop
	informerOf := shared(d.Informers)
	for _, make := range []func() (*reconcile.Loop, error){
		func() (*reconcile.Loop, error) { return namespace.New(d.Client, d.Metadata, d.Informers, d.Clock) },
		func() (*reconcile.Loop, error) { return serviceaccount.New(d.Client, d.Informers) },
		func() (*reconcile.Loop, error) { return rootca.New(d.Client, d.Informers, d.CA) },
		func() (*reconcile.Loop, error) { return podgc.New(d.Client, d.Informers, d.Clock) },
		func() (*reconcile.Loop, error) { return nodelifecycle.New(d.Client, d.Informers, d.Clock) },
		func() (*reconcile.Loop, error) {
			return tainteviction.New(d.Client, d.Informers, d.Recorder(tainteviction.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return disruption.New(d.Client, d.Informers, d.Recorder(disruption.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return resourcequota.New(resourcequota.Config{
				Client: d.Client, Metadata: d.Metadata, Informers: d.Informers, Clock: d.Clock, Shared: informerOf, Watched: cached,
			})
		},
		func() (*reconcile.Loop, error) { return accounttoken.New(d.Client, d.Informers) },
		func() (*reconcile.Loop, error) {
			if d.Signer == nil {
				return nil, nil
			}
			return certificates.New(d.Client, d.Informers, d.Signer, d.Clock)
		},
		func() (*reconcile.Loop, error) { return bootstraptoken.New(d.Client, d.Clock) },
		func() (*reconcile.Loop, error) {
			if d.Nodes == nil {
				return nil, nil
			}
			return noderange.New(d.Client, d.Informers, *d.Nodes)
		},
		func() (*reconcile.Loop, error) {
			return endpointslice.New(d.Client, d.Informers, d.Recorder(endpointslice.Component))
		},
		func() (*reconcile.Loop, error) {
			services := d.Informers.Core().V1().Services().Lister()
			return endpoints.New(d.Client, d.Informers, d.Recorder(endpoints.Component), endpointslice.PodServices(services))
		},
		func() (*reconcile.Loop, error) { return endpointslicemirroring.New(d.Client, d.Informers) },
		func() (*reconcile.Loop, error) {
			if len(d.DNS) == 0 {
				return nil, nil
			}
			return clusterdns.New(d.Client, d.Informers, d.DNS)
		},
		func() (*reconcile.Loop, error) {
			return replicaset.New(d.Client, d.Informers, d.Recorder(replicaset.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return replicationcontroller.New(d.Client, d.Informers, d.Recorder(replicationcontroller.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return deployment.New(d.Client, d.Informers, d.Recorder(deployment.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return daemonset.New(d.Client, d.Informers, d.Recorder(daemonset.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return statefulset.New(d.Client, d.Informers, d.Recorder(statefulset.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return job.New(d.Client, d.Informers, d.Recorder(job.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return cronjob.New(d.Client, d.Informers, d.Recorder(cronjob.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) {
			return persistentvolume.New(d.Client, d.Informers, d.Recorder(persistentvolume.Component))
		},
		func() (*reconcile.Loop, error) {
			return ephemeralvolume.New(d.Client, d.Informers, d.Recorder(ephemeralvolume.Component))
		},
		func() (*reconcile.Loop, error) {
			return attachdetach.New(d.Client, d.Informers, d.Recorder(attachdetach.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) { return storageprotection.Claims(d.Client, d.Informers, d.Clock) },
		func() (*reconcile.Loop, error) { return storageprotection.Volumes(d.Client, d.Informers) },
		func() (*reconcile.Loop, error) { return storageprotection.AttributesClasses(d.Client, d.Informers) },
		func() (*reconcile.Loop, error) {
			return autoscale.New(d.Client, d.Informers, d.Recorder(autoscale.Component), d.Clock)
		},
		func() (*reconcile.Loop, error) { return ttl.New(d.Client, d.Informers, d.Clock) },
		func() (*reconcile.Loop, error) {
			return garbage.New(garbage.Config{
				Discovery: d.Client.Discovery(), Metadata: d.Metadata, Recorder: d.Recorder(garbage.Component), Shared: informerOf,
			})
		},
	} {
		loop, err := make()
		if err != nil {
			return nil, fmt.Errorf("make controllers: %w", err)
		}
		if loop != nil {
			loops = append(loops, loop)
		}
	}
	return loops, nil
}

// cached are the resources that the controllers above have informers of anyway:
// the garbage collector watches along instead of having watches of its own.
var cached = []schema.GroupVersionResource{
	{Version: "v1", Resource: "namespaces"},
	{Version: "v1", Resource: "nodes"},
	{Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "endpoints"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Version: "v1", Resource: "replicationcontrollers"},
	{Version: "v1", Resource: "persistentvolumeclaims"},
	{Version: "v1", Resource: "persistentvolumes"},
	{Version: "v1", Resource: "resourcequotas"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"},
	{Group: "storage.k8s.io", Version: "v1", Resource: "volumeattributesclasses"},
	{Group: "storage.k8s.io", Version: "v1", Resource: "volumeattachments"},
	{Group: "storage.k8s.io", Version: "v1", Resource: "csidrivers"},
	{Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"},
	{Group: "apps", Version: "v1", Resource: "controllerrevisions"},
	{Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "batch", Version: "v1", Resource: "cronjobs"},
}

func shared(factory informers.SharedInformerFactory) func(schema.GroupVersionResource) cache.SharedIndexInformer {
	found := map[schema.GroupVersionResource]cache.SharedIndexInformer{}
	for _, r := range cached {
		if generic, err := factory.ForResource(r); err == nil {
			found[r] = generic.Informer()
		}
	}
	return func(r schema.GroupVersionResource) cache.SharedIndexInformer { return found[r] }
}
