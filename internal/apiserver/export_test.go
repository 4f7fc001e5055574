package apiserver

import "k8s.io/client-go/tools/cache"

// WatchStore is for the benchmark of feeding informers directly.
func (s *Server) WatchStore(resource string) *cache.ListWatch { return s.watchStore(resource) }
