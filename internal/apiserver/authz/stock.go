package authz

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The stock roles: what every cluster has, with upstream's names and powers,
// since manifests everywhere bind to them. A rule is written
//
//	verbs | API groups | resources | names      ("" is the core group)
//	verbs | URLs
//
// with blanks between several.
const (
	read  = "get list watch"
	write = "create update patch delete deletecollection"
	all   = "get list watch create update patch delete deletecollection"

	eventRule = `create update patch | "" events.k8s.io | events`
)

type stockRole struct {
	name        string
	aggregateTo string // this role's rules are part of that aggregated role
	rules       []string
}

var stockRoles = []stockRole{
	{"cluster-admin", "", []string{`* | * | *`, `* | *`}},
	{"system:discovery", "", []string{`get | /livez /readyz /healthz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*`}},
	{"system:monitoring", "", []string{
		`get | /metrics /metrics/slis /livez /readyz /healthz /livez/* /readyz/* /healthz/*`,
		`get | "" | nodes/metrics`}},
	{"system:basic-user", "", []string{
		`create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews`,
		`create | authentication.k8s.io | selfsubjectreviews`}},
	{"system:public-info-viewer", "", []string{`get | /livez /readyz /healthz /version /version/`}},
	{"system:aggregate-to-admin", "admin", []string{
		`create | authorization.k8s.io | localsubjectaccessreviews`,
		all + ` | rbac.authorization.k8s.io | roles rolebindings`}},
	{"system:aggregate-to-edit", "edit", []string{
		read + ` | "" | pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy`,
		`impersonate | "" | serviceaccounts`,
		write + ` | "" | pods pods/attach pods/proxy pods/exec pods/portforward`,
		`create | "" | pods/eviction`,
		write + ` | "" | replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy persistentvolumeclaims configmaps secrets`,
		`create | "" | serviceaccounts/token`,
		write + ` | "" events.k8s.io | events`,
		write + ` | apps | statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback replicasets replicasets/scale`,
		write + ` | autoscaling | horizontalpodautoscalers`,
		write + ` | batch | jobs cronjobs`,
		write + ` | extensions | daemonsets deployments deployments/scale deployments/rollback ingresses replicasets replicasets/scale replicationcontrollers/scale networkpolicies`,
		write + ` | policy | poddisruptionbudgets`,
		write + ` | networking.k8s.io | networkpolicies ingresses`,
		all + ` | coordination.k8s.io | leases`,
		write + ` | resource.k8s.io | resourceclaims resourceclaimtemplates`}},
	{"system:aggregate-to-view", "view", []string{
		read + ` | "" | pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints persistentvolumeclaims persistentvolumeclaims/status configmaps`,
		read + ` | "" | limitranges resourcequotas bindings pods/status resourcequotas/status namespaces/status replicationcontrollers/status pods/log`,
		read + ` | "" | namespaces`,
		read + ` | "" events.k8s.io | events`,
		read + ` | discovery.k8s.io | endpointslices`,
		read + ` | apps | controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale`,
		read + ` | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status`,
		read + ` | batch | jobs cronjobs cronjobs/status jobs/status`,
		read + ` | extensions | daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status replicasets replicasets/scale replicasets/status replicationcontrollers/scale networkpolicies`,
		read + ` | policy | poddisruptionbudgets poddisruptionbudgets/status`,
		read + ` | networking.k8s.io | networkpolicies ingresses ingresses/status`,
		read + ` | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates`}},
	{"system:aggregated-metrics-reader", "view", []string{read + ` | metrics.k8s.io | nodes pods`}},
	{"system:node", "", []string{
		`create | authentication.k8s.io | tokenreviews`,
		`create | authorization.k8s.io | subjectaccessreviews localsubjectaccessreviews`,
		read + ` | "" | services`,
		`create get list watch | "" | nodes`,
		`update patch | "" | nodes/status`,
		`update patch | "" | nodes`,
		eventRule,
		read + ` | "" | pods`,
		`create delete | "" | pods`,
		`update patch | "" | pods/status`,
		`create | "" | pods/eviction`,
		read + ` | "" | secrets configmaps`,
		`get | "" | persistentvolumeclaims persistentvolumes`,
		`get | "" | endpoints`,
		`create get list watch | certificates.k8s.io | certificatesigningrequests`,
		`get create update patch delete | coordination.k8s.io | leases`,
		`get | storage.k8s.io | volumeattachments`,
		`create | "" | serviceaccounts/token`,
		`get update patch | "" | persistentvolumeclaims/status`,
		read + ` | storage.k8s.io | csidrivers`,
		`get create update patch delete | storage.k8s.io | csinodes`,
		read + ` | node.k8s.io | runtimeclasses`,
		`get | resource.k8s.io | resourceclaims`,
		`deletecollection | resource.k8s.io | resourceslices`,
		read + ` | certificates.k8s.io | clustertrustbundles`,
		`get | "" | serviceaccounts`,
		`get list watch create | certificates.k8s.io | podcertificaterequests`}},
	{"system:node-problem-detector", "", []string{`get | "" | nodes`, `patch | "" | nodes/status`, eventRule}},
	{"system:node-bootstrapper", "", []string{`create get list watch | certificates.k8s.io | certificatesigningrequests`}},
	{"system:auth-delegator", "", []string{
		`create | authentication.k8s.io | tokenreviews`,
		`create | authorization.k8s.io | subjectaccessreviews`}},
	{"system:kube-aggregator", "", []string{read + ` | "" | services endpoints`}},
	{"system:kube-controller-manager", "", []string{
		eventRule,
		`create | coordination.k8s.io | leases`,
		`get update | coordination.k8s.io | leases | kube-controller-manager`,
		`create | "" | secrets serviceaccounts`,
		`delete | "" | secrets`,
		`get | "" | namespaces secrets serviceaccounts configmaps`,
		`update | "" | secrets serviceaccounts`,
		`create | authentication.k8s.io | tokenreviews`,
		`create | authorization.k8s.io | subjectaccessreviews`,
		`list watch | * | *`,
		`create | "" | serviceaccounts/token`}},
	{"system:kube-scheduler", "", []string{
		eventRule,
		`create | coordination.k8s.io | leases`,
		`get update list watch | coordination.k8s.io | leases | kube-scheduler`,
		all + ` | coordination.k8s.io | leasecandidates`,
		read + ` | "" | nodes`,
		`get list watch delete | "" | pods`,
		`create | "" | pods/binding bindings`,
		`patch update | "" | pods/status`,
		read + ` | "" | services replicationcontrollers`,
		read + ` | apps extensions | replicasets`,
		read + ` | apps | statefulsets`,
		read + ` | policy | poddisruptionbudgets`,
		read + ` | "" | persistentvolumeclaims persistentvolumes`,
		`create | authentication.k8s.io | tokenreviews`,
		`create | authorization.k8s.io | subjectaccessreviews`,
		read + ` | storage.k8s.io | csinodes volumeattachments csidrivers csistoragecapacities`,
		read + ` | "" | namespaces`,
		read + ` | resource.k8s.io | deviceclasses resourceslices devicetaintrules`,
		`get list watch update patch create delete | resource.k8s.io | resourceclaims`,
		`get list watch update patch | resource.k8s.io | resourceclaims/status resourceclaims/binding`,
		`update | "" | pods/finalizers`}},
	{"system:kube-dns", "", []string{`list watch | "" | endpoints services`}},
	{"system:persistent-volume-provisioner", "", []string{
		`get list watch create delete | "" | persistentvolumes`,
		`get list watch update | "" | persistentvolumeclaims`,
		read + ` | storage.k8s.io | storageclasses`,
		`watch | "" | events`,
		eventRule}},
	{"system:volume-scheduler", "", []string{
		`get list watch update patch | "" | persistentvolumes`,
		read + ` | storage.k8s.io | storageclasses`,
		`get list watch update patch | "" | persistentvolumeclaims`}},
	{"system:certificates.k8s.io:certificatesigningrequests:nodeclient", "", []string{`create | certificates.k8s.io | certificatesigningrequests/nodeclient`}},
	{"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "", []string{`create | certificates.k8s.io | certificatesigningrequests/selfnodeclient`}},
	{"system:certificates.k8s.io:legacy-unknown-approver", "", []string{`approve | certificates.k8s.io | signers | kubernetes.io/legacy-unknown`}},
	{"system:certificates.k8s.io:kubelet-serving-approver", "", []string{`approve | certificates.k8s.io | signers | kubernetes.io/kubelet-serving`}},
	{"system:certificates.k8s.io:kube-apiserver-client-approver", "", []string{`approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client`}},
	{"system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", "", []string{`approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet`}},
	{"system:service-account-issuer-discovery", "", []string{`get | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/`}},
	{"system:cluster-trust-bundle-discovery", "", []string{read + ` | certificates.k8s.io | clustertrustbundles`}},
	{"system:kubelet-api-admin", "", []string{
		read + ` | "" | nodes`,
		`proxy | "" | nodes`,
		`* | "" | nodes/proxy nodes/metrics nodes/stats nodes/log nodes/pods nodes/healthz nodes/configz`}},
	{"system:node-proxier", "", []string{
		`list watch | "" | services endpoints`,
		read + ` | "" | nodes`,
		eventRule,
		`list watch | networking.k8s.io | servicecidrs`,
		`list watch | discovery.k8s.io | endpointslices`}},
	// What a node does beside running its pods — services, names, ways to other
	// nodes, local volumes — it does in the name of this user (docs/adr/0006-second-nodes.md).
	{nodeServices, "", []string{
		read + ` | "" | services nodes namespaces`,
		read + ` | discovery.k8s.io | endpointslices`,
		read + ` | networking.k8s.io | servicecidrs`,
		`get list watch create update delete | "" | persistentvolumes`,
		`get list watch update | "" | persistentvolumeclaims`,
		`update patch | "" | persistentvolumeclaims/status`,
		read + ` | storage.k8s.io | storageclasses`,
		eventRule}},
	{"proa:node", "", []string{`impersonate | "" | users | ` + nodeServices}},
}

const nodeServices = "proa:node-services"

// The aggregated roles: each is the union of those labelled for it, and part
// of the next greater one.
var aggregatedRoles = []struct{ name, partOf string }{{"view", "edit"}, {"edit", "admin"}, {"admin", ""}}

// Who has a stock role from the start: "g:" a group, "u:" a user, "s:" a service account.
var stockBindings = []struct{ role, subjects string }{
	{"cluster-admin", "g:system:masters"},
	{"system:monitoring", "g:system:monitoring"},
	{"system:discovery", "g:system:authenticated"},
	{"system:basic-user", "g:system:authenticated"},
	{"system:public-info-viewer", "g:system:authenticated g:system:unauthenticated"},
	{"system:node-proxier", "u:system:kube-proxy"},
	{"system:node-bootstrapper", "g:system:bootstrappers"},
	{"system:certificates.k8s.io:certificatesigningrequests:nodeclient", "g:system:bootstrappers"},
	{"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "g:system:nodes"},
	{"proa:node", "g:system:nodes"},
	{nodeServices, "u:" + nodeServices},
	{"system:kube-controller-manager", "u:system:kube-controller-manager"},
	{"system:kube-dns", "s:kube-system/kube-dns"},
	{"system:kube-scheduler", "u:system:kube-scheduler"},
	{"system:volume-scheduler", "u:system:kube-scheduler"},
	{"system:node", ""}, // bound to nobody: nodes are let in by what is on them
	{"system:service-account-issuer-discovery", "g:system:serviceaccounts"},
	{"system:cluster-trust-bundle-discovery", "g:system:serviceaccounts"},
}

// StockClusterRoles are the cluster roles that every cluster has.
func StockClusterRoles() (out []rbacv1.ClusterRole) {
	for _, r := range stockRoles {
		role := rbacv1.ClusterRole{ObjectMeta: stockMeta(r.name), Rules: parseRules(r.rules)}
		if r.aggregateTo != "" {
			role.Labels[aggregateLabel+r.aggregateTo] = "true"
		}
		out = append(out, role)
	}
	for _, a := range aggregatedRoles {
		role := rbacv1.ClusterRole{ObjectMeta: stockMeta(a.name), AggregationRule: &rbacv1.AggregationRule{
			ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{aggregateLabel + a.name: "true"}}},
		}}
		if a.partOf != "" {
			role.Labels[aggregateLabel+a.partOf] = "true"
		}
		role.Rules = Aggregate(&role, pointers(out))
		out = append(out, role)
	}
	return out
}

// StockClusterRoleBindings bind the stock roles.
func StockClusterRoleBindings() (out []rbacv1.ClusterRoleBinding) {
	for _, b := range stockBindings {
		out = append(out, rbacv1.ClusterRoleBinding{
			ObjectMeta: stockMeta(b.role),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: b.role},
			Subjects:   subjects(b.subjects),
		})
	}
	return out
}

// StockRoles are those of single namespaces.
func StockRoles() []rbacv1.Role {
	reader := rbacv1.Role{ObjectMeta: stockMeta(authReader), Rules: parseRules([]string{
		read + ` | "" | configmaps | extension-apiserver-authentication`})}
	reader.Namespace = metav1.NamespaceSystem
	return []rbacv1.Role{reader}
}

const (
	authReader     = "extension-apiserver-authentication-reader"
	aggregateLabel = "rbac.authorization.k8s.io/aggregate-to-"
)

func stockMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        name,
		Labels:      map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"},
		Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
	}
}

func parseRules(lines []string) (rules []rbacv1.PolicyRule) {
	for _, line := range lines {
		parts := strings.Split(line, "|")
		words := func(i int) []string {
			if i >= len(parts) {
				return nil
			}
			out := strings.Fields(parts[i])
			for j := range out {
				if out[j] == `""` {
					out[j] = corev1.GroupName
				}
			}
			return out
		}
		rule := rbacv1.PolicyRule{Verbs: words(0)}
		if len(parts) == 2 {
			rule.NonResourceURLs = words(1)
		} else {
			rule.APIGroups, rule.Resources, rule.ResourceNames = words(1), words(2), words(3)
		}
		rules = append(rules, rule)
	}
	return rules
}

func subjects(list string) (out []rbacv1.Subject) {
	for _, s := range strings.Fields(list) {
		name := s[2:]
		switch s[0] {
		case 'g':
			out = append(out, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name})
		case 'u':
			out = append(out, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name})
		case 's':
			namespace, name, _ := strings.Cut(name, "/")
			out = append(out, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
		}
	}
	return out
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}
