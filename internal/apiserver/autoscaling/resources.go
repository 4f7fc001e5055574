// Package autoscaling describes autoscaling: HorizontalPodAutoscaler in its two versions.
package autoscaling

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		horizontalPodAutoscalersV2(),
		horizontalPodAutoscalersV1(),
	}
}
