package apiserver

import (
	"github.com/proa-project/proa/internal/apiserver/convert"
	"github.com/proa-project/proa/internal/apiserver/registry"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/subresource"
)

func newScheme(rs []resource.Resource) (*registry.Scheme, error) {
	return registry.NewScheme(groups, rs, convert.Autoscaling, convert.Events, subresource.Options)
}
