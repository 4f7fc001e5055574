package meta

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

var errUnknownPortType = errors.New("unknown type of IntOrString")

// IP and CIDR check fields that have always held addresses. They are strict about
// new values (no leading zeros, no IPv4 in IPv6), and lenient about those already stored.
func IP(path *field.Path, value string, stored ...string) field.ErrorList {
	return validation.IsValidIPForLegacyField(path, value, true, stored)
}

func CIDR(path *field.Path, value string, stored ...string) field.ErrorList {
	return validation.IsValidCIDRForLegacyField(path, value, true, stored)
}

// EndpointIP refuses addresses that traffic can't be sent to from another host.
func EndpointIP(path *field.Path, value string) field.ErrorList {
	ip := netutils.ParseIPSloppy(value)
	if ip == nil {
		return field.ErrorList{field.Invalid(path, value, "must be a valid IP address")}
	}
	var errs field.ErrorList
	refuse := func(is bool, message string) {
		if is {
			errs = append(errs, field.Invalid(path, value, message))
		}
	}
	refuse(ip.IsUnspecified(), fmt.Sprintf("may not be unspecified (%v)", value))
	refuse(ip.IsLoopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)")
	refuse(ip.IsLinkLocalUnicast(), "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	refuse(ip.IsLinkLocalMulticast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	return errs
}
