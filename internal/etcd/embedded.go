package etcd

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	memberName = "proa"
	// Nothing listens here and nobody dials it: etcd wants a peer URL as the
	// member's name in the cluster map.
	memberURL = "http://127.0.0.1:1"

	// A lone member does not wait for its election timeout (see elect), so the tick
	// is etcd's own; each one wakes an idle process twice.
	usualTick     = 100 * time.Millisecond
	electionTicks = 10

	// etcd preallocates two segments; its 64 MB are for disks of databases
	// that outgrow a laptop's.
	walSegment = 4 << 20

	// Raft keeps the last catchUp entries in memory. There is no follower to catch up.
	// But a member that starts goes over all entries since its last snapshot, and raft
	// panics when it looks for one that was dropped before it had noted it as gone
	// over: so catchUp is snapshotCount and what may be under way besides.
	snapshotCount = 1000
	catchUp       = 1500

	quota      = 8 << 30
	maxRequest = 3 << 20 // twice the API server's largest object, as protobuf and JSON differ
	maxTxnOps  = 128

	dialTimeout      = 20 * time.Second
	keepAlive        = 30 * time.Second
	keepAliveTimeout = 10 * time.Second
)

func embedded(ctx context.Context, c Config) (*Store, error) {
	if c.tick == 0 {
		c.tick = usualTick
	}
	unlock, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	log := zapTo(c.logger())
	server, err := startMember(c, log)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("etcd in %s: %w", c.Dir, err)
	}
	elected, stop := context.WithCancel(ctx)
	defer stop()
	go elect(elected, server)
	select {
	case <-server.ReadyNotify():
	case <-server.StopNotify():
		unlock()
		return nil, fmt.Errorf("etcd in %s: stopped while starting", c.Dir)
	case <-ctx.Done():
		server.HardStop()
		unlock()
		return nil, fmt.Errorf("etcd in %s: %w", c.Dir, ctx.Err())
	}
	client := v3client.New(server)
	return &Store{
		client: client,
		done:   server.StopNotify(),
		close: func() error {
			err := client.Close()
			if errors.Is(err, context.Canceled) { // how a client without a connection says "closed"
				err = nil
			}
			server.Stop()
			return errors.Join(err, unlock())
		},
	}, nil
}

func startMember(c Config, log *zap.Logger) (*etcdserver.EtcdServer, error) {
	wal.SegmentSizeBytes = walSegment // the library offers no other way
	urls, err := types.NewURLs([]string{memberURL})
	if err != nil {
		return nil, err
	}
	server, err := etcdserver.NewServer(config.ServerConfig{
		Name:                        memberName,
		DataDir:                     c.Dir,
		ClientURLs:                  urls,
		PeerURLs:                    urls,
		InitialPeerURLsMap:          types.URLsMap{memberName: urls},
		InitialClusterToken:         "proa",
		NewCluster:                  true, // looked at only when the directory is empty
		TickMs:                      uint(c.tick / time.Millisecond),
		ElectionTicks:               electionTicks,
		InitialElectionTickAdvance:  true,
		PreVote:                     true,
		SnapshotCount:               snapshotCount,
		SnapshotCatchUpEntries:      catchUp,
		MaxSnapFiles:                2,
		MaxWALFiles:                 3,
		QuotaBackendBytes:           quota,
		MaxRequestBytes:             maxRequest,
		MaxTxnOps:                   maxTxnOps,
		AuthToken:                   "simple",
		BcryptCost:                  10,
		TokenTTL:                    300,
		AutoCompactionMode:          "periodic", // off (retention 0): the API server compacts
		StrictReconfigCheck:         true,
		WarningApplyDuration:        500 * time.Millisecond,
		WarningUnaryRequestDuration: time.Second,
		MaxLearners:                 1,
		V2Deprecation:               config.V2DeprDefault,
		DowngradeCheckTime:          time.Hour,
		CompactHashCheckTime:        time.Minute,
		UnsafeNoFsync:               c.NoFsync,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		Metrics:                     "basic",
		Logger:                      log,
	})
	if err != nil {
		return nil, err
	}
	server.Start()
	return server, nil
}

// electEvery is how soon a member is asked again that could not be elected yet: it
// has still to apply what makes it a member.
const electEvery = 2 * time.Millisecond

// elect makes a lone member the leader without waiting for an election timeout, by
// the message with which a leader that resigns hands over to another.
func elect(ctx context.Context, server *etcdserver.EtcdServer) {
	self := uint64(server.MemberID())
	for server.Leader() == 0 {
		if caughtUp(self) {
			// What keeps it from being heard is seen by its effect: there is no leader.
			_ = server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(electEvery):
		}
	}
}

// caughtUp tells whether raft has gone over all that the member had committed before.
// Until then, it would look for changes of membership among entries that may have been
// dropped already (see catchUp). The library tells nobody but a debugger.
func caughtUp(member uint64) bool {
	published, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return false
	}
	status, ok := published.Value().(raft.Status)
	return ok && status.ID == member && status.Applied >= status.GetCommit()
}

// lockDir makes dir and takes it for this process.
func lockDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("etcd: %s is in use by another process", dir)
		}
		return nil, fmt.Errorf("etcd: lock %s: %w", dir, err)
	}
	return f.Close, nil // closing drops the lock
}
