// Package container turns a pod into what the container runtime is asked for:
// the sandbox's config, each container's config, its environment, and the
// contents of the files that the node agent writes for it (/etc/hosts,
// resolv.conf).
//
// In: the pod, the node's facts, the ConfigMaps, Secrets and services that the
// environment draws on, mounts. Out: CRI v1 messages. Everything here is pure.
//
//	env.go        environment from all sources, $(VAR) expansion
//	downward.go   fieldRef and resourceFieldRef
//	services.go   service environment variables
//	dns.go        resolver configuration by dnsPolicy and dnsConfig
//	hosts.go      /etc/hosts
//	names.go      host name, labels, annotations, log paths
//	security.go   security contexts
//	resources.go  requests and limits → cgroup values
//	sandbox.go, container.go   the messages
//
// (Written by the lead alongside the loop: the agent's author calls it.)
package container
