package storagemigration

import (
	"strconv"
	"strings"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A StorageVersionMigration asks that all objects of a resource be stored anew,
// in the version of today.
func storageVersionMigrations() resource.Resource {
	name := meta.Name()
	name.Format = "" // as the API has it; kubectl prints the name all the same
	return resource.Resource{
		GroupVersion: storagemigrationv1.SchemeGroupVersion,
		Name:         "storageversionmigrations",
		Singular:     "storageversionmigration",
		Kind:         "StorageVersionMigration",
		New:          func() runtime.Object { return &storagemigrationv1.StorageVersionMigration{} },
		NewList:      func() runtime.Object { return &storagemigrationv1.StorageVersionMigrationList{} },
		Check:        meta.Check(checkStorageVersionMigration),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkStorageVersionMigrationUpdate),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate: meta.CheckUpdate(checkStorageVersionMigrationStatus),
			Reset:       [][]string{{"metadata"}, {"spec"}},
		}},
		Columns: meta.Table(name, meta.String("Resource", "GroupResource to migrate"), meta.String("Status", "Status of the migration")),
		Row:     meta.Row(storageVersionMigrationRow),
	}
}

func checkStorageVersionMigration(m *storagemigrationv1.StorageVersionMigration) field.ErrorList {
	path, target := field.NewPath("spec", "resource"), m.Spec.Resource
	var errs field.ErrorList
	if target.Resource == "" {
		errs = append(errs, field.Required(path.Child("resource"), "resource is required to be set"))
	} else if messages := validation.IsDNS1035Label(target.Resource); len(messages) > 0 {
		errs = append(errs, field.Invalid(path.Child("resource"), target.Resource, strings.Join(messages, ",")))
	}
	if target.Group != "" {
		if messages := validation.IsDNS1123Subdomain(target.Group); len(messages) > 0 {
			errs = append(errs, field.Invalid(path.Child("group"), target.Group, strings.Join(messages, ",")))
		}
	}
	return errs
}

func checkStorageVersionMigrationUpdate(m, old *storagemigrationv1.StorageVersionMigration) field.ErrorList {
	return append(checkStorageVersionMigration(m), meta.Unchanged(field.NewPath("spec"), m.Spec, old.Spec)...)
}

// checkStorageVersionMigrationStatus: a migration ends once, one way or the other.
func checkStorageVersionMigrationStatus(m, old *storagemigrationv1.StorageVersionMigration) field.ErrorList {
	path, version := field.NewPath("status"), m.Status.ResourceVersion
	var errs field.ErrorList
	if version != "" {
		if _, err := strconv.ParseUint(version, 10, 64); err != nil {
			errs = append(errs, field.Invalid(path.Child("resourceVersion"), version, "resource version is not well formed: "+version))
		}
	}
	errs = append(errs, metavalidation.ValidateConditions(m.Status.Conditions, path.Child("conditions"))...)
	if old.Status.ResourceVersion != "" && old.Status.ResourceVersion != version {
		errs = append(errs, field.Invalid(path.Child("resourceVersion"), version, meta.Immutable))
	}
	refuse := func(is bool, message string) {
		if is {
			errs = append(errs, field.Invalid(path.Child("conditions"), m.Status.Conditions, message))
		}
	}
	done, failed := is(m, storagemigrationv1.MigrationSucceeded), is(m, storagemigrationv1.MigrationFailed)
	refuse(done && failed, "Both success and failed conditions cannot be true at the same time")
	refuse(is(old, storagemigrationv1.MigrationSucceeded) && !done, "Success condition cannot be set to false once it is true")
	refuse(is(old, storagemigrationv1.MigrationFailed) && !failed, "Failed condition cannot be set to false once it is true")
	return errs
}

func is(m *storagemigrationv1.StorageVersionMigration, t storagemigrationv1.MigrationConditionType) bool {
	for _, c := range m.Status.Conditions {
		if c.Type == string(t) && c.Status == metav1.ConditionTrue {
			return true
		}
	}
	return false
}

func storageVersionMigrationRow(m *storagemigrationv1.StorageVersionMigration, _ metav1.Time) []any {
	state := "Unknown"
	for _, c := range m.Status.Conditions {
		switch t := storagemigrationv1.MigrationConditionType(c.Type); t {
		case storagemigrationv1.MigrationRunning, storagemigrationv1.MigrationFailed, storagemigrationv1.MigrationSucceeded:
			if c.Status == metav1.ConditionTrue {
				state = c.Type
			}
		}
	}
	return []any{m.Name, m.Spec.Resource.String(), state}
}
