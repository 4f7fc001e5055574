package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/httpget"
)

// grpcProbe asks the standard health service (grpc.health.v1).
func grpcProbe(ctx context.Context, action *v1.GRPCAction, host string, limit time.Duration) answer {
	transport := insecure.NewCredentials()
	if action.Mode != nil && *action.Mode == v1.GRPCProbeModeTLS {
		transport = credentials.NewTLS(httpget.TLS())
	}
	address := net.JoinHostPort(host, strconv.Itoa(int(action.Port)))
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return dialer(limit).DialContext(ctx, "tcp", addr)
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(transport), grpc.WithUserAgent(userAgent), grpc.WithContextDialer(dial))
	if err != nil {
		return failure(fmt.Sprintf("error: failed to connect service at %q: %+v", address, err))
	}
	defer conn.Close()
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	response, err := grpc_health_v1.NewHealthClient(conn).Check(bounded, &grpc_health_v1.HealthCheckRequest{Service: service})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return failure("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + status.Convert(err).Message())
	case codes.DeadlineExceeded:
		return failure(fmt.Sprintf("timeout: health rpc did not complete within %v", limit))
	case codes.Unavailable:
		return failure(fmt.Sprintf("error: failed to connect service at %q: %+v", address, err))
	default:
		return failure(fmt.Sprintf("error: health rpc probe failed: %+v", err))
	}
	if response.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return failure(fmt.Sprintf("service unhealthy (responded with %q)", response.GetStatus()))
	}
	return success("service healthy")
}
