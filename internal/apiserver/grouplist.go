package apiserver

import (
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/discovery"
)

// groupSource is who brings groups that come and go.
type groupSource string

const (
	ofCustomResources groupSource = "custom resources"
	ofOtherServers    groupSource = "other servers"
)

// groupList keeps the groups that come and go in the plain list of groups (/apis).
type groupList struct {
	manager discovery.GroupManager
	fixed   map[string]bool // groups of our own: they stay as they are

	mu       sync.Mutex
	versions map[groupSource]map[string][]string // by group
	listed   map[string]metav1.APIGroup
}

func newGroupList(m discovery.GroupManager) *groupList {
	l := &groupList{manager: m, fixed: map[string]bool{}, versions: map[groupSource]map[string][]string{}, listed: map[string]metav1.APIGroup{}}
	for _, g := range groups {
		l.fixed[g.Name] = true
	}
	return l
}

// set replaces what one source brings: versions by group.
func (l *groupList) set(source groupSource, versions map[string][]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions[source] = versions
	merged := map[string][]string{}
	for _, source := range slices.Sorted(maps.Keys(l.versions)) {
		for group, versions := range l.versions[source] {
			for _, v := range versions {
				if !l.fixed[group] && !slices.Contains(merged[group], v) {
					merged[group] = append(merged[group], v)
				}
			}
		}
	}
	for name, versions := range merged {
		slices.SortFunc(versions, newestVersionFirst)
		l.listed[name] = groupOf(name, versions)
		l.manager.AddGroup(l.listed[name])
	}
	for name := range l.listed {
		if merged[name] == nil {
			l.manager.RemoveGroup(name)
			delete(l.listed, name)
		}
	}
}

// get a group that another server brings.
func (l *groupList) ofOthers(name string) (metav1.APIGroup, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.versions[ofOtherServers][name] == nil {
		return metav1.APIGroup{}, false
	}
	g, ok := l.listed[name]
	return g, ok
}

func groupOf(name string, versions []string) metav1.APIGroup {
	g := metav1.APIGroup{Name: name}
	for _, v := range versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}
