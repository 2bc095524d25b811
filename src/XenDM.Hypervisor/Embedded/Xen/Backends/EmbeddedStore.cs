using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Hypervisor.Embedded.Xen.Store;

namespace XenDM.Hypervisor.Embedded.Xen.Backends;

/// <summary>The store of the embedded machine as domain 0 uses it.</summary>
internal sealed class EmbeddedStore(XenStore store, IEventLoop loop) : IXenStore
{
    private const int MaxAttempts = 16;
    private readonly View _now = new(store, null);

    public string? Read(string path) => _now.Read(path);

    public IReadOnlyList<string>? List(string path) => _now.List(path);

    public void Write(string path, string value) => _now.Write(path, value);

    public void Remove(string path) => _now.Remove(path);

    public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions) => _now.SetPermissions(path, permissions);

    public bool TryTransact(Action<IXenStoreView> body)
    {
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var transaction = store.Start(0);
            body(new View(store, transaction));
            if (store.TryCommit(transaction)) return true;
        }

        return false;
    }

    public IDisposable Watch(string path, Action<string> changed) => new Watcher(store, loop, path, changed);

    private sealed class View(XenStore store, StoreTransaction? transaction) : IXenStoreView
    {
        public string? Read(string path) => Find(path) is { } node ? Encoding.UTF8.GetString(node.Value) : null;

        public IReadOnlyList<string>? List(string path) => Find(path) is { } node ? [.. node.Children.Keys] : null;

        public void Write(string path, string value) => store.Write(XenConstants.DomainZero, path, Encoding.UTF8.GetBytes(value), transaction);

        public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions) => store.SetPermissions(XenConstants.DomainZero, path, permissions, transaction);

        public void Remove(string path)
        {
            try
            {
                store.Remove(XenConstants.DomainZero, path, transaction);
            }
            catch (StoreException e) when (e.Error == "ENOENT")
            {
            }
        }

        private StoreNode? Find(string path)
        {
            try
            {
                return store.Get(XenConstants.DomainZero, path, transaction);
            }
            catch (StoreException e) when (e.Error is "ENOENT" or "EACCES")
            {
                return null;
            }
        }
    }

    /// <summary>Changes wait for the loop, each path once.</summary>
    private sealed class Watcher : IDisposable
    {
        private readonly XenStore _store;
        private readonly IEventLoop _loop;
        private readonly StoreWatch _watch;
        private readonly Action<string> _changed;
        private readonly List<string> _waiting = [];
        private bool _isDisposed;

        public Watcher(XenStore store, IEventLoop loop, string path, Action<string> changed)
        {
            if (!path.StartsWith('@')) XenStore.Check(path);
            (_store, _loop, _changed) = (store, loop, changed);
            _watch = new StoreWatch(XenConstants.DomainZero, path, "", "", Queue);
            store.Add(_watch);
        }

        private void Queue(StoreWatch watch, string path)
        {
            if (_waiting.Contains(path)) return;
            _waiting.Add(path);
            if (_waiting.Count == 1) _loop.Post(Deliver);
        }

        private void Deliver()
        {
            var paths = _waiting.ToArray();
            _waiting.Clear();
            foreach (var path in paths)
            {
                if (_isDisposed) return;
                _changed(path);
            }
        }

        public void Dispose()
        {
            _isDisposed = true;
            _store.Remove(_watch);
        }
    }
}
