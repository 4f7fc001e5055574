package apiserver

import (
	"slices"

	"github.com/proa-project/proa/internal/apiserver/admissionregistration"
	"github.com/proa-project/proa/internal/apiserver/apps"
	"github.com/proa-project/proa/internal/apiserver/autoscaling"
	"github.com/proa-project/proa/internal/apiserver/batch"
	"github.com/proa-project/proa/internal/apiserver/certificates"
	"github.com/proa-project/proa/internal/apiserver/coordination"
	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/apiserver/discovery"
	"github.com/proa-project/proa/internal/apiserver/events"
	"github.com/proa-project/proa/internal/apiserver/flowcontrol"
	"github.com/proa-project/proa/internal/apiserver/networking"
	"github.com/proa-project/proa/internal/apiserver/nodeapi"
	"github.com/proa-project/proa/internal/apiserver/policy"
	"github.com/proa-project/proa/internal/apiserver/rbac"
	"github.com/proa-project/proa/internal/apiserver/registration"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/resourceapi"
	"github.com/proa-project/proa/internal/apiserver/scheduling"
	"github.com/proa-project/proa/internal/apiserver/storage"
	"github.com/proa-project/proa/internal/apiserver/storagemigration"
)

// Resources is every stored kind of the API.
func Resources() []resource.Resource {
	return slices.Concat(
		core.Resources(),
		apps.Resources(),
		events.Resources(),
		autoscaling.Resources(),
		batch.Resources(),
		certificates.Resources(),
		networking.Resources(),
		policy.Resources(),
		rbac.Resources(),
		storage.Resources(),
		admissionregistration.Resources(),
		scheduling.Resources(),
		coordination.Resources(),
		nodeapi.Resources(),
		discovery.Resources(),
		resourceapi.Resources(),
		flowcontrol.Resources(),
		storagemigration.Resources(),
		registration.Resources(),
	)
}
