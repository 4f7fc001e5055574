package spec

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// setUser resolves who the first process is, in the files of the image.
//
// The user is the container's, by number or name, or the image's. The primary
// group is the container's, else the image's, else that of the user's passwd
// entry, else 0. The other groups are those asked for, and, unless the policy is
// Strict, those of which /etc/group makes the user a member.
func setUser(in *Input, s *specs.Spec) error {
	sc := in.security()
	if sc.GetRunAsGroup() != nil && sc.GetRunAsUser() == nil && sc.GetRunAsUsername() == "" {
		return invalid("runAsGroup is specified without runAsUser")
	}
	name, group := userName(in)
	u, err := lookup(in, name)
	if err != nil {
		return invalid("%w", err)
	}
	gid := u.Gid
	switch {
	case sc.GetRunAsGroup() != nil:
		gid = int(sc.RunAsGroup.Value)
	case group != "":
		g, err := lookup(in, strconv.Itoa(u.Uid)+":"+group)
		if err != nil {
			return invalid("%w", err)
		}
		gid = g.Gid
	}
	// The primary group is listed too: a process finds it in getgroups(2) as it
	// would after a login.
	groups := []int{gid}
	if sc.GetSupplementalGroupsPolicy() != runtimeapi.SupplementalGroupsPolicy_Strict {
		groups = append(groups, u.Sgids...)
	}
	for _, g := range sc.GetSupplementalGroups() {
		groups = append(groups, int(g))
	}
	s.Process.User = specs.User{UID: uint32(u.Uid), GID: uint32(gid)}
	if s.Process.User.AdditionalGids, err = groupIDs(groups); err != nil {
		return err
	}
	return validID("user", int64(u.Uid))
}

// userName is who runs, without group, and the group that came with it.
func userName(in *Input) (name, group string) {
	sc := in.security()
	if sc.GetRunAsUser() != nil {
		return strconv.FormatInt(sc.RunAsUser.Value, 10), ""
	}
	if sc.GetRunAsUsername() != "" {
		return sc.RunAsUsername, ""
	}
	name, group, _ = strings.Cut(in.Image.User, ":")
	return name, group
}

func lookup(in *Input, userSpec string) (*user.ExecUser, error) {
	return user.GetExecUser(userSpec, nil, reader(in.Passwd), reader(in.Group))
}

// reader must be a nil interface for a file that does not exist.
func reader(file []byte) io.Reader {
	if file == nil {
		return nil
	}
	return bytes.NewReader(file)
}

func groupIDs(groups []int) ([]uint32, error) {
	slices.Sort(groups)
	out := make([]uint32, 0, len(groups))
	for _, g := range slices.Compact(groups) {
		if err := validID("group", int64(g)); err != nil {
			return nil, err
		}
		out = append(out, uint32(g))
	}
	return out, nil
}

// validID refuses numbers that the kernel would wrap; the largest is "nobody
// changes" to chown(2).
func validID(kind string, id int64) error {
	if id < 0 || id >= math.MaxUint32 {
		return invalid("%s ID %d is out of range", kind, id)
	}
	return nil
}
