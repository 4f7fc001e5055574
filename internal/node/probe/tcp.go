package probe

import (
	"context"
	"net"
	"strconv"
	"time"
)

// tcpProbe connects, and hangs up.
func tcpProbe(ctx context.Context, host string, port int, limit time.Duration) answer {
	conn, err := dialer(limit).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return failure(err.Error())
	}
	// The container accepted; how the connection ends says nothing of it.
	_ = conn.Close()
	return success("")
}
