using System;
using System.Collections.Generic;
using System.Globalization;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>
/// libxenstore as backends use it. Each call waits for xenstored, so backends set devices up and take them down through it and nothing else. Watch
/// events wait in the library, whose descriptor the machine loop watches: they are told there, never from within a call.
/// </summary>
public sealed class XenStoreConnection : IXenStore, IDisposable
{
    private const int MaxAttempts = 16;

    /// <summary>Events taken in one turn of the loop; others wait for the next, so that a flood of them leaves the guest's requests their turn.</summary>
    private const int MaxEventsInTurn = 256;

    private readonly XenStore _store;
    private readonly IMachineLog _log;
    private readonly View _now;
    private readonly IFdWatch _ready;
    private readonly Dictionary<string, Watcher> _watchers = [];
    private readonly HashSet<(Watcher Watcher, string Path)> _seen = [];
    private readonly List<(Watcher Watcher, string Path)> _waiting = [];
    private long _lastToken;

    /// <param name="loop">The machine thread's, on which this is called.</param>
    /// <exception cref="XenException">xenstored does not answer.</exception>
    public XenStoreConnection(IEventLoop loop, IMachineLog log)
    {
        _log = log;
        _store = new XenStore();
        _now = new View(_store, 0);
        _ready = loop.Watch(_store.Fd, FdEvents.Readable, Deliver);
    }

    /// <summary>The domain that this process runs in, where backends' nodes are: 0, or a driver domain.</summary>
    public int OwnDomain => _store.Read("domid") is { } text && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var domain) ? domain : 0;

    public string? Read(string path) => _now.Read(path);

    public IReadOnlyList<string>? List(string path) => _now.List(path);

    public void Write(string path, string value) => _now.Write(path, value);

    public void Remove(string path) => _now.Remove(path);

    public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions) => _now.SetPermissions(path, permissions);

    public bool TryTransact(Action<IXenStoreView> body)
    {
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            Check(_store.StartTransaction(out var transaction));
            try
            {
                body(new View(_store, transaction));
            }
            catch (StoreException e) when (e.Error == "EAGAIN")
            {
                _store.EndTransaction(transaction, abort: true);
                continue;
            }
            catch
            {
                _store.EndTransaction(transaction, abort: true);
                throw;
            }

            var result = _store.EndTransaction(transaction, abort: false);
            if (result != -Errno.EAGAIN)
            {
                Check(result);
                return true;
            }
        }

        return false;
    }

    public IDisposable Watch(string path, Action<string> changed)
    {
        // Never used twice: events of an earlier watch may still be on their way.
        var watcher = new Watcher(this, path, (++_lastToken).ToString(CultureInfo.InvariantCulture), changed);
        Text(path);
        _watchers.Add(watcher.Token, watcher);
        var result = _store.Watch(path, watcher.Token);
        if (result < 0) _watchers.Remove(watcher.Token);
        Check(result);
        return watcher;
    }

    public void Dispose()
    {
        _ready.Dispose();
        _watchers.Clear();
        _store.Dispose();
    }

    private static int Check(int result) => result >= 0 ? result : throw new StoreException(Word(result));

    /// <summary>The name that the protocol has for an error (xsd_errors of xen/public/io/xs_wire.h).</summary>
    private static string Word(int result) => -result switch
    {
        Errno.EACCES => "EACCES",
        Errno.EEXIST => "EEXIST",
        Errno.EISDIR => "EISDIR",
        Errno.ENOENT => "ENOENT",
        Errno.ENOMEM => "ENOMEM",
        Errno.ENOSPC => "ENOSPC",
        Errno.EIO => "EIO",
        Errno.ENOTEMPTY => "ENOTEMPTY",
        Errno.ENOSYS => "ENOSYS",
        Errno.EROFS => "EROFS",
        Errno.EBUSY => "EBUSY",
        Errno.EAGAIN => "EAGAIN",
        Errno.EISCONN => "EISCONN",
        Errno.E2BIG => "E2BIG",
        Errno.EPERM => "EPERM",
        _ => "EINVAL",
    };

    /// <summary>Paths reach the library as C strings: one with a zero byte would name another node.</summary>
    private static string Text(string path) => path.Contains('\0') ? throw new StoreException("EINVAL") : path;

    private void Deliver(FdEvents events)
    {
        for (var count = 0; count < MaxEventsInTurn && _store.TryReadWatch(out var path, out var token); count++)
        {
            if (_watchers.TryGetValue(token, out var watcher) && _seen.Add((watcher, path))) _waiting.Add((watcher, path));
        }

        if (_waiting.Count == 0 && (events & FdEvents.Hangup) != 0)
        {
            _ready.Events = FdEvents.None;
            _log.Warn("xenstore", "xenstored is gone: PV devices do not change any more");
        }

        // Watches that a callback adds or ends change nothing here: their events come in a later turn, or find the watch ended.
        var batch = _waiting.ToArray();
        _waiting.Clear();
        _seen.Clear();
        foreach (var (watcher, path) in batch) watcher.Tell(path);
    }

    private void End(Watcher watcher)
    {
        if (!_watchers.Remove(watcher.Token)) return;

        // One that the connection's end or the restriction to one guest took away is gone already.
        _store.Unwatch(watcher.Path, watcher.Token);
    }

    private sealed class Watcher(XenStoreConnection owner, string path, string token, Action<string> changed) : IDisposable
    {
        private bool _isDisposed;

        public string Path => path;

        public string Token => token;

        public void Tell(string changedPath)
        {
            if (!_isDisposed) changed(changedPath);
        }

        public void Dispose()
        {
            if (_isDisposed) return;
            _isDisposed = true;
            owner.End(this);
        }
    }

    private sealed class View(XenStore store, uint transaction) : IXenStoreView
    {
        public string? Read(string path)
        {
            var result = store.Read(Text(path), out var value, transaction);
            return IsMissing(result) ? null : Check(result) >= 0 ? value : null;
        }

        public IReadOnlyList<string>? List(string path)
        {
            var result = store.List(Text(path), out var names, transaction);
            return IsMissing(result) ? null : Check(result) >= 0 ? names : null;
        }

        public void Write(string path, string value) => Check(store.Write(Text(path), value, transaction));

        public void Remove(string path)
        {
            var result = store.Remove(Text(path), transaction);
            if (result != -Errno.ENOENT) Check(result);
        }

        public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions)
        {
            var list = new XenStorePermission[permissions.Count];
            for (var i = 0; i < list.Length; i++)
            {
                var access = (permissions[i].Reads ? XenStorePermission.Read : 0) | (permissions[i].Writes ? XenStorePermission.Write : 0);
                list[i] = new XenStorePermission((uint)permissions[i].Domain, access);
            }

            Check(store.SetPermissions(Text(path), list, transaction));
        }

        private static bool IsMissing(int result) => result is -Errno.ENOENT or -Errno.EACCES;
    }
}
