package meta

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// RequestTime is when the request that is being served was received, for the few
// fields that the API itself dates. It comes with the request, so hooks stay pure;
// not ok outside of one.
func RequestTime(ctx context.Context) (metav1.Time, bool) {
	received, ok := request.ReceivedTimestampFrom(ctx)
	if !ok {
		return metav1.Time{}, false
	}
	return metav1.Time{Time: received}.Rfc3339Copy(), true
}
