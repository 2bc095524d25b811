using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;

namespace XenDM.Testing;

/// <summary>xenstore in memory, with watches that are told through the loop and transactions that others can disturb. One thread only, as the real one.</summary>
public sealed class FakeStore(IEventLoop loop) : IXenStore
{
    private const int MaxPath = 3072;

    private readonly int _thread = Environment.CurrentManagedThreadId;
    private readonly List<Watcher> _watchers = [];
    private SortedDictionary<string, string> _nodes = new(StringComparer.Ordinal);
    private long _generation;

    /// <summary>Nodes that are there.</summary>
    public int Count => _nodes.Count;

    /// <summary>Writes and removals so far.</summary>
    public long Changes => _generation;

    /// <summary>Watches that are not disposed.</summary>
    public int Watches => _watchers.Count;

    /// <summary>Paths whose writing or watching is refused with the error.</summary>
    public Dictionary<string, string> Refused { get; } = [];

    /// <summary>Called before a transaction ends: what others do meanwhile.</summary>
    public Action? BeforeCommit { get; set; }

    public string? Read(string path) => Find(_nodes, path);

    public IReadOnlyList<string>? List(string path)
    {
        Check(path);
        return ListIn(_nodes, path);
    }

    public void Write(string path, string value)
    {
        Check(path);
        Put(_nodes, path, value);
        Changed(path, removed: false);
    }

    public void Remove(string path)
    {
        Check(path);
        if (Drop(_nodes, path)) Changed(path, removed: true);
    }

    public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions) => Check(path);

    public bool TryTransact(Action<IXenStoreView> body)
    {
        for (var attempt = 0; attempt < 8; attempt++)
        {
            var view = new Transaction(this, _nodes);
            var before = _generation;
            body(view);
            BeforeCommit?.Invoke();
            if (before != _generation) continue;
            _nodes = view.Nodes;
            foreach (var (path, removed) in view.Changes) Changed(path, removed);
            return true;
        }

        return false;
    }

    public IDisposable Watch(string path, Action<string> changed)
    {
        Check(path);
        if (Refused.TryGetValue(path, out var error)) throw new StoreException(error);
        var watcher = new Watcher(this, loop, path, changed);
        _watchers.Add(watcher);
        watcher.Queue(path);
        return watcher;
    }

    private static string? Find(SortedDictionary<string, string> nodes, string path) => nodes.TryGetValue(path, out var value) ? value : null;

    private static List<string>? ListIn(SortedDictionary<string, string> nodes, string path)
    {
        if (!nodes.ContainsKey(path)) return null;
        var names = new List<string>();
        foreach (var node in nodes.Keys)
            if (node.Length > path.Length + 1 && node.StartsWith(path, StringComparison.Ordinal) && node[path.Length] == '/' && node.IndexOf('/', path.Length + 1) < 0) names.Add(node[(path.Length + 1)..]);
        return names;
    }

    private void Put(SortedDictionary<string, string> nodes, string path, string value)
    {
        if (Refused.TryGetValue(path, out var error)) throw new StoreException(error);
        nodes[path] = value;
        for (var slash = path.LastIndexOf('/'); slash > 0; slash = path.LastIndexOf('/', slash - 1)) nodes.TryAdd(path[..slash], "");
    }

    private static bool Drop(SortedDictionary<string, string> nodes, string path)
    {
        if (!nodes.Remove(path)) return false;
        var below = new List<string>();
        foreach (var node in nodes.Keys)
            if (node.StartsWith(path + "/", StringComparison.Ordinal)) below.Add(node);
        foreach (var node in below) nodes.Remove(node);
        return true;
    }

    /// <summary>A watch is told of what changes below its path, and of its own path when something above it is removed.</summary>
    private void Changed(string path, bool removed)
    {
        _generation++;
        foreach (var watcher in _watchers)
        {
            if (IsAtOrBelow(path, watcher.Path)) watcher.Queue(path);
            else if (removed && IsAtOrBelow(watcher.Path, path)) watcher.Queue(watcher.Path);
        }
    }

    private static bool IsAtOrBelow(string path, string folder) => path.StartsWith(folder, StringComparison.Ordinal) && (path.Length == folder.Length || path[folder.Length] == '/');

    private void Check(string path)
    {
        if (Environment.CurrentManagedThreadId != _thread) throw new InvalidOperationException("xenstore is used from another thread");
        if (path.Length is 0 or > MaxPath || path[0] != '/' || path[^1] == '/' || path.Contains("//", StringComparison.Ordinal)) throw new StoreException("EINVAL");
        foreach (var letter in path)
            if (!char.IsAsciiLetterOrDigit(letter) && letter is not ('-' or '/' or '_' or '@')) throw new StoreException("EINVAL");
    }

    private sealed class Transaction(FakeStore store, SortedDictionary<string, string> nodes) : IXenStoreView
    {
        public SortedDictionary<string, string> Nodes { get; } = new(nodes, StringComparer.Ordinal);

        public List<(string Path, bool Removed)> Changes { get; } = [];

        public string? Read(string path) => Find(Nodes, path);

        public IReadOnlyList<string>? List(string path) => ListIn(Nodes, path);

        public void Write(string path, string value)
        {
            store.Check(path);
            store.Put(Nodes, path, value);
            Changes.Add((path, false));
        }

        public void Remove(string path)
        {
            store.Check(path);
            if (Drop(Nodes, path)) Changes.Add((path, true));
        }

        public void SetPermissions(string path, IReadOnlyList<StorePermission> permissions) => store.Check(path);
    }

    private sealed class Watcher(FakeStore store, IEventLoop loop, string path, Action<string> changed) : IDisposable
    {
        private readonly List<string> _waiting = [];
        private bool _isDisposed;

        public string Path => path;

        public void Queue(string what)
        {
            if (_waiting.Contains(what)) return;
            _waiting.Add(what);
            if (_waiting.Count == 1) loop.Post(Deliver);
        }

        public void Dispose()
        {
            _isDisposed = true;
            store._watchers.Remove(this);
        }

        private void Deliver()
        {
            var paths = _waiting.ToArray();
            _waiting.Clear();
            foreach (var what in paths)
                if (!_isDisposed) changed(what);
        }
    }
}
