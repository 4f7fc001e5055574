package subresource

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
	policyclient "k8s.io/client-go/kubernetes/typed/policy/v1"
	"k8s.io/client-go/util/retry"
)

// Eviction deletes a pod if its disruption budget allows.
type Eviction struct {
	Pods    rest.StandardStorage // through pods/status: a condition is set before the deletion
	Budgets policyclient.PodDisruptionBudgetsGetter
}

var (
	_ rest.NamedCreater             = Eviction{}
	_ rest.GroupVersionKindProvider = Eviction{}
	_ rest.GroupVersionAcceptor     = Eviction{}
)

// Two clients may fight over one budget for this long before one is told to come back.
var evictionRetry = wait.Backoff{Steps: 20, Duration: 500 * time.Millisecond, Factor: 1, Jitter: 0.1}

// Deletions that the budget's controller has not seen yet; more than this means that it is away.
const maxDisrupted = 2000

var evictionKind = schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "Eviction"}

func (Eviction) New() runtime.Object                                          { return &policyv1.Eviction{} }
func (Eviction) Destroy()                                                     {}
func (Eviction) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind { return evictionKind }
func (Eviction) AcceptsGroupVersion(gv schema.GroupVersion) bool {
	return gv == policyv1.SchemeGroupVersion
}

func (e Eviction) Create(ctx context.Context, name string, obj runtime.Object, check rest.ValidateObjectFunc, o *metav1.CreateOptions) (runtime.Object, error) {
	eviction := obj.(*policyv1.Eviction)
	if name != eviction.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	options, err := deleteOptions(eviction, o)
	if err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(ctx, eviction.DeepCopy()); err != nil {
			return nil, err
		}
	}
	pinned := resourceVersionOf(options) != nil
	var pod *corev1.Pod
	done := false
	err = retry.OnError(evictionRetry, func(err error) bool { return !pinned && apierrors.IsConflict(err) }, func() error {
		if pod, err = e.get(ctx, name); err != nil {
			return err
		}
		if !budgetless(pod) {
			return nil
		}
		use := options
		if !pinned && pod.Status.Phase == corev1.PodPending && pod.DeletionTimestamp.IsZero() {
			use = pin(options, pod.ResourceVersion) // it must not have become ready meanwhile
		}
		done = true
		return e.delete(ctx, name, use)
	})
	if err != nil {
		return nil, err
	}
	if done {
		return success(), nil
	}
	return e.withinBudget(ctx, pod, options)
}

// withinBudget deletes a running pod, taking one from its budget.
func (e Eviction) withinBudget(ctx context.Context, pod *corev1.Pod, options *metav1.DeleteOptions) (runtime.Object, error) {
	budgets, err := e.budgetsOf(ctx, pod)
	if err != nil {
		return nil, err
	}
	unguarded, name := false, ""
	switch len(budgets) {
	case 0:
	case 1:
		name = budgets[0].Name
		if unguarded = unhealthyMayGo(pod, &budgets[0]); !unguarded {
			if err := e.take(ctx, pod, &budgets[0], dryrun.IsDryRun(options.DryRun)); err != nil {
				return nil, err
			}
		}
	default:
		return &metav1.Status{
			Status: metav1.StatusFailure, Code: 500,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
		}, nil
	}
	use := options
	if unguarded {
		use = pin(options, pod.ResourceVersion)
	}
	if err := e.delete(ctx, pod.Name, use); err != nil {
		if apierrors.IsConflict(err) && unguarded && resourceVersionOf(options) == nil {
			return nil, tooMany(name, 10)
		}
		return nil, err
	}
	return success(), nil
}

// take counts the disruption in the budget's status.
func (e Eviction) take(ctx context.Context, pod *corev1.Pod, budget *policyv1.PodDisruptionBudget, dry bool) error {
	again := false
	err := retry.RetryOnConflict(evictionRetry, func() (err error) {
		if again {
			if budget, err = e.Budgets.PodDisruptionBudgets(pod.Namespace).Get(ctx, budget.Name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		again = true
		next, err := decrement(budget, pod.Name, metav1.Now())
		if err != nil || dry {
			return err
		}
		_, err = e.Budgets.PodDisruptionBudgets(pod.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
		return err
	})
	if wait.Interrupted(err) || apierrors.IsConflict(err) {
		return apierrors.NewTimeoutError(fmt.Sprintf("couldn't update PodDisruptionBudget %q due to conflicts", budget.Name), 10)
	}
	return err
}

// decrement is the budget after one more disruption, or why there may be none.
func decrement(b *policyv1.PodDisruptionBudget, pod string, now metav1.Time) (*policyv1.PodDisruptionBudget, error) {
	forbidden := func(reason, message string) error {
		err := apierrors.NewForbidden(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudget"}, b.Name, errors.New(reason))
		return withCause(err, message)
	}
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return nil, tooMany(b.Name, 10)
	case b.Status.DisruptionsAllowed < 0:
		return nil, forbidden("pdb disruptions allowed is negative",
			fmt.Sprintf("The disruption budget %s does not allow evicting pods currently: pdb disruptions allowed is negative", b.Name))
	case len(b.Status.DisruptedPods) > maxDisrupted:
		return nil, forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller",
			fmt.Sprintf("The disruption budget %s does not allow evicting pods currently: too many pending evictions not confirmed by PDB controller", b.Name))
	case b.Status.DisruptionsAllowed == 0:
		return nil, withCause(apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0), refusal(b))
	}
	b = b.DeepCopy()
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptionsAllowed == 0 {
		meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{
			Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse,
			Reason: policyv1.InsufficientPodsReason, ObservedGeneration: b.Status.ObservedGeneration,
		})
	}
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	b.Status.DisruptedPods[pod] = now
	return b, nil
}

func refusal(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	told := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case told && c.Reason == policyv1.SyncFailedReason:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", b.Name, c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	case told:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", b.Name, c.Reason, c.Message)
	}
	return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", b.Name)
}

func tooMany(budget string, seconds int) error {
	return withCause(apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", seconds),
		fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget))
}

func withCause(err *apierrors.StatusError, message string) error {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: message})
	return err
}

// delete marks the pod as disrupted, then deletes it.
func (e Eviction) delete(ctx context.Context, name string, o *metav1.DeleteOptions) error {
	if !dryrun.IsDryRun(o.DryRun) {
		mark := rest.DefaultUpdatedObjectInfo(nil, func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
			pod := old.(*corev1.Pod).DeepCopy()
			if err := fulfils(pod, o.Preconditions); err != nil {
				return nil, err
			}
			setCondition(&pod.Status, corev1.PodCondition{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
				Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
			}, metav1.Now())
			return pod, nil
		})
		obj, _, err := e.Pods.Update(ctx, name, mark, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		if resourceVersionOf(o) != nil {
			o = pin(o, obj.(*corev1.Pod).ResourceVersion)
		}
	}
	_, _, err := e.Pods.Delete(ctx, name, rest.ValidateAllObjectFunc, o.DeepCopy())
	return err
}

func fulfils(pod *corev1.Pod, p *metav1.Preconditions) error {
	gr := schema.GroupResource{Resource: "Pod"}
	switch {
	case p == nil:
	case p.UID != nil && *p.UID != "" && *p.UID != pod.UID:
		return apierrors.NewConflict(gr, pod.Name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, pod.UID))
	case p.ResourceVersion != nil && *p.ResourceVersion != "" && *p.ResourceVersion != pod.ResourceVersion:
		return apierrors.NewConflict(gr, pod.Name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, pod.ResourceVersion))
	}
	return nil
}

func (e Eviction) get(ctx context.Context, name string) (*corev1.Pod, error) {
	obj, err := e.Pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}

func (e Eviction) budgetsOf(ctx context.Context, pod *corev1.Pod) (out []policyv1.PodDisruptionBudget, err error) {
	list, err := e.Budgets.PodDisruptionBudgets(pod.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, b := range list.Items {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) {
			out = append(out, b)
		}
	}
	return out, nil
}

// budgetless pods disrupt nothing any more, or not yet.
func budgetless(pod *corev1.Pod) bool {
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return true
	}
	return !pod.DeletionTimestamp.IsZero()
}

// unhealthyMayGo: a pod that is not ready doesn't count as healthy, so its end
// takes nothing from a budget that is met, or that lets such pods go always.
func unhealthyMayGo(pod *corev1.Pod, b *policyv1.PodDisruptionBudget) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

func deleteOptions(e *policyv1.Eviction, o *metav1.CreateOptions) (*metav1.DeleteOptions, error) {
	switch d := e.DeleteOptions; {
	case d == nil:
		return &metav1.DeleteOptions{DryRun: o.DryRun}, nil
	case len(d.DryRun) == 0:
		d.DryRun = o.DryRun
		return d, nil
	case len(o.DryRun) != 0 && !reflect.DeepEqual(o.DryRun, d.DryRun):
		return nil, fmt.Errorf("Non-matching dry-run options in request and content: %v and %v", o.DryRun, d.DryRun) //nolint:staticcheck // the API's wording
	default:
		return d, nil
	}
}

func resourceVersionOf(o *metav1.DeleteOptions) *string {
	if o.Preconditions == nil {
		return nil
	}
	return o.Preconditions.ResourceVersion
}

func pin(o *metav1.DeleteOptions, version string) *metav1.DeleteOptions {
	o = o.DeepCopy()
	if o.Preconditions == nil {
		o.Preconditions = &metav1.Preconditions{}
	}
	o.Preconditions.ResourceVersion = &version
	return o
}

func success() *metav1.Status { return &metav1.Status{Status: metav1.StatusSuccess} }
