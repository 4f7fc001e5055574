package resourceapi

import (
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// A deviceID names a device of the cluster, or somebody's share of one.
type deviceID struct{ driver, pool, device, share string }

func (id deviceID) String() string {
	name := id.driver + "/" + id.pool + "/" + id.device
	if id.share != "" {
		name += "/" + id.share
	}
	return name
}

func allocatedTo(r resourcev1.DeviceRequestAllocationResult) deviceID {
	return deviceID{r.Driver, r.Pool, r.Device, string(meta.Deref(r.ShareID, ""))}
}

func reportedBy(s resourcev1.AllocatedDeviceStatus) deviceID {
	return deviceID{s.Driver, s.Pool, s.Device, meta.Deref(s.ShareID, "")}
}

func allocated(allocation *resourcev1.AllocationResult) sets.Set[deviceID] {
	ids := sets.New[deviceID]()
	if allocation != nil {
		for _, result := range allocation.Devices.Results {
			ids.Insert(allocatedTo(result))
		}
	}
	return ids
}

// forgetDeallocated drops what drivers reported of devices that are no longer the
// claim's, so that clients need not know of reports to give devices back.
func forgetDeallocated(claim, old *resourcev1.ResourceClaim) {
	gone := allocated(old.Status.Allocation).Difference(allocated(claim.Status.Allocation))
	claim.Status.Devices = slices.DeleteFunc(claim.Status.Devices, func(s resourcev1.AllocatedDeviceStatus) bool {
		return gone.Has(reportedBy(s))
	})
	if len(claim.Status.Devices) == 0 {
		claim.Status.Devices = nil
	}
}

func dropSkips(claim, old *resourcev1.ResourceClaim) {
	skips := func(r resourcev1.DeviceRequestAllocationResult) bool { return len(r.SkipNodeOperations) > 0 }
	if a := old.Status.Allocation; a != nil && slices.ContainsFunc(a.Devices.Results, skips) {
		return
	}
	if a := claim.Status.Allocation; a != nil {
		for i := range a.Devices.Results {
			a.Devices.Results[i].SkipNodeOperations = nil
		}
	}
}

func checkClaimStatus(claim, old *resourcev1.ResourceClaim) field.ErrorList {
	path, status := field.NewPath("status"), &claim.Status
	devices := allocated(status.Allocation)
	errs := meta.Join(
		checkSet(path.Child("reservedFor"), status.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize,
			func(r resourcev1.ResourceClaimConsumerReference) types.UID { return r.UID }, checkConsumer),
		checkSet(path.Child("devices"), status.Devices, unlimited, reportedBy,
			func(path *field.Path, s resourcev1.AllocatedDeviceStatus) field.ErrorList {
				return checkReport(path, s, devices)
			}),
	)
	if len(status.ReservedFor) > 0 {
		reserved := path.Child("reservedFor")
		added := sets.New(status.ReservedFor...).Difference(sets.New(old.Status.ReservedFor...))
		switch {
		case status.Allocation == nil:
			errs = append(errs, field.Forbidden(reserved, "may not be specified when `allocated` is not set"))
		case claim.DeletionTimestamp != nil && len(added) > 0:
			errs = append(errs, field.Forbidden(reserved, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
		}
	}
	path = path.Child("allocation")
	switch {
	case status.Allocation != nil && old.Status.Allocation != nil:
		if !equality.Semantic.DeepEqual(status.Allocation, old.Status.Allocation) {
			errs = append(errs, field.Invalid(path, status.Allocation, "field cannot be modified once set"))
		}
	case status.Allocation != nil:
		errs = append(errs, checkAllocation(path, status.Allocation, namesOf(&claim.Spec))...)
	}
	return errs
}

func checkConsumer(path *field.Path, r resourcev1.ResourceClaimConsumerReference) field.ErrorList {
	return meta.Join(
		meta.Required(path.Child("resource"), r.Resource),
		meta.Required(path.Child("name"), r.Name),
		meta.Required(path.Child("uid"), string(r.UID)),
	)
}

func checkAllocation(path *field.Path, allocation *resourcev1.AllocationResult, names requestNames) field.ErrorList {
	devices := path.Child("devices")
	errs := meta.Join(
		checkList(devices.Child("results"), allocation.Devices.Results, resourcev1.AllocationResultsMaxSize,
			func(path *field.Path, r resourcev1.DeviceRequestAllocationResult) field.ErrorList {
				return checkResult(path, r, names)
			}),
		checkList(devices.Child("config"), allocation.Devices.Config, 2*resourcev1.DeviceConfigMaxSize, // of class and claim
			func(path *field.Path, c resourcev1.DeviceAllocationConfiguration) field.ErrorList {
				return meta.Join(
					meta.OneOf(path.Child("source"), c.Source, resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass),
					names.check(path.Child("requests"), c.Requests),
					checkConfig(path, c.DeviceConfiguration, false),
				)
			}),
	)
	if allocation.NodeSelector != nil {
		errs = append(errs, meta.NodeSelector(path.Child("nodeSelector"), allocation.NodeSelector, false)...)
	}
	return errs
}

func checkResult(path *field.Path, r resourcev1.DeviceRequestAllocationResult, names requestNames) field.ErrorList {
	return meta.Join(
		names.checkOne(path.Child("request"), r.Request),
		checkDriver(path.Child("driver"), r.Driver),
		checkResultPool(path.Child("pool"), r.Pool),
		meta.DNSLabel(path.Child("device"), r.Device),
		checkBinding(path, r.BindingConditions, r.BindingFailureConditions),
		checkList(path.Child("tolerations"), r.Tolerations, unlimited, checkToleration),
		checkUID(path.Child("shareID"), r.ShareID),
		checkSkips(path.Child("skipNodeOperations"), r.SkipNodeOperations),
	)
}

func checkReport(path *field.Path, s resourcev1.AllocatedDeviceStatus, devices sets.Set[deviceID]) field.ErrorList {
	errs := meta.Join(
		meta.DriverName(path.Child("driver"), s.Driver),
		checkPoolName(path.Child("pool"), s.Pool),
		meta.DNSLabel(path.Child("device"), s.Device),
		checkUID(path.Child("shareID"), s.ShareID),
	)
	if id := reportedBy(s); !devices.Has(id) {
		errs = append(errs, field.Invalid(path, id, "must be an allocated device in the claim"))
	}
	errs = append(errs, checkConditions(path.Child("conditions"), s)...)
	if s.Data != nil && len(s.Data.Raw) > 0 {
		errs = append(errs, checkJSONObject(path.Child("data"), *s.Data, resourcev1.AllocatedDeviceStatusDataMaxLength)...)
	}
	if s.NetworkData != nil {
		errs = append(errs, checkNetwork(path.Child("networkData"), s.NetworkData)...)
	}
	return errs
}

func checkConditions(path *field.Path, s resourcev1.AllocatedDeviceStatus) field.ErrorList {
	var errs field.ErrorList
	if len(s.Conditions) > resourcev1.AllocatedDeviceStatusMaxConditions {
		errs = append(errs, field.TooMany(path, len(s.Conditions), resourcev1.AllocatedDeviceStatusMaxConditions))
	}
	return append(errs, metavalidation.ValidateConditions(s.Conditions, path)...)
}

func checkNetwork(path *field.Path, data *resourcev1.NetworkDeviceData) field.ErrorList {
	var errs field.ErrorList
	if limit := resourcev1.NetworkDeviceDataInterfaceNameMaxLength; len(data.InterfaceName) > limit {
		errs = append(errs, field.TooLong(path.Child("interfaceName"), "", limit))
	}
	if limit := resourcev1.NetworkDeviceDataHardwareAddressMaxLength; len(data.HardwareAddress) > limit {
		errs = append(errs, field.TooLong(path.Child("hardwareAddress"), "", limit))
	}
	return append(errs, checkSet(path.Child("ips"), data.IPs, resourcev1.NetworkDeviceDataMaxIPs, itself, validation.IsValidInterfaceAddress)...)
}
