package apiserver

import (
	"fmt"
	"io"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	policymutating "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	policyvalidating "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/component-base/tracing"
)

// policies are the library's plugins by which users decide: CEL policies and
// webhooks, what mutates before what validates.
func (s *Server) policies(a authorizer.Authorizer) ([]admission.Interface, error) {
	config := rest.CopyConfig(s.LoopbackConfig())
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.client.Discovery()))
	generic := initializer.New(s.client, client, s.informers, a, utilfeature.DefaultFeatureGate, newEffectiveVersion(), s.stopped, mapper)
	hooks := webhookinit.NewPluginInitializer(
		webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, s.LoopbackConfig(), tracing.NewNoopTracerProvider()), s.services())

	var out []admission.Interface
	for _, add := range []func(io.Reader) (admission.Interface, error){
		func(r io.Reader) (admission.Interface, error) { return policymutating.NewPlugin(r) },
		func(r io.Reader) (admission.Interface, error) { return mutating.NewMutatingWebhook(r) },
		func(r io.Reader) (admission.Interface, error) { return policyvalidating.NewPlugin(r) },
		func(r io.Reader) (admission.Interface, error) { return validating.NewValidatingAdmissionWebhook(r) },
	} {
		plugin, err := add(nil)
		if err != nil {
			return nil, err
		}
		generic.Initialize(plugin)
		hooks.Initialize(plugin)
		if v, ok := plugin.(admission.InitializationValidator); ok {
			if err := v.ValidateInitialization(); err != nil {
				return nil, fmt.Errorf("admission plugin %T: %w", plugin, err)
			}
		}
		out = append(out, plugin)
	}
	return out, nil
}
