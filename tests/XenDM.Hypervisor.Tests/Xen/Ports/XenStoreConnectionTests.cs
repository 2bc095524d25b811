using System;
using System.Collections.Generic;
using System.Linq;
using XenDM.Core.Hypervisor;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Hypervisor.Xen.Ports;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Tests.Xen.Ports;

/// <summary>The connection, and the real library.</summary>
[Collection("libxenstore")]
public sealed class XenStoreConnectionTests : IDisposable
{
    private readonly PollLoop _loop = new(new VmClock(static () => 0));
    private readonly StoreDaemon? _daemon;
    private readonly XenStoreConnection _store = null!;
    private readonly XenStore _other = null!;

    public XenStoreConnectionTests()
    {
        if (!StoreDaemon.IsLibraryInstalled) return;
        _daemon = new StoreDaemon();
        _store = _daemon.Opening(() => new XenStoreConnection(_loop, SilentLog.Instance));
        _other = _daemon.Opening(static () => new XenStore());
    }

    [LibXenStoreFact]
    public void Nodes_AreMadeReadListedAndRemoved()
    {
        _store.Write("/a/b/c", "value, ü");
        Assert.Equal("value, ü", _other.Read("/a/b/c"));
        Assert.Equal("", _store.Read("/a/b"));
        _store.Write("/a/b/d", "");
        Assert.Equal(["c", "d"], _store.List("/a/b")!.Order());
        Assert.Null(_store.Read("/a/x"));
        Assert.Null(_store.List("/a/x"));
        _store.Remove("/a/b");
        _store.Remove("/a/b");
        _store.Remove("/never/was");
        Assert.Empty(_store.List("/a")!);
        Assert.Equal(0, _store.OwnDomain);
    }

    [LibXenStoreFact]
    public void Refusal_IsTheProtocolsWord()
    {
        Assert.Equal("EINVAL", Assert.Throws<StoreException>(() => _store.Write("/a//b", "")).Error);
        Assert.Equal("EINVAL", Assert.Throws<StoreException>(() => _store.Read("/a\0b")).Error);
        Assert.Equal("EINVAL", Assert.Throws<StoreException>(() => _store.Remove("/")).Error);
        Assert.Equal("ENOENT", Assert.Throws<StoreException>(() => _store.SetPermissions("/none", [new('n', 0)])).Error);
        Assert.NotEmpty(Assert.Throws<StoreException>(() => _store.Write("/big", new string('x', 5000))).Error);
        Assert.Throws<StoreException>(() => _store.Watch("/a//b", static _ => { }));
    }

    [LibXenStoreFact]
    public void Permissions_ArriveInTheirOrder()
    {
        _store.Write("/p", "1");
        _store.SetPermissions("/p", [new('n', 3), new('r', 0), new('b', 7)]);
        Assert.Equal([new StorePermission('n', 3), new('r', 0), new('b', 7)], PermissionsOf("/p"));
    }

    [LibXenStoreFact]
    public void Transaction_IsSeenAsOne_AndRepeatedAfterAConflict()
    {
        _store.Write("/n", "1");
        var runs = 0;
        Assert.True(_store.TryTransact(view =>
        {
            var n = int.Parse(view.Read("/n")!);
            if (runs++ < 3) _other.Write("/n", $"{n + 10}");
            view.Write("/n", $"{n + 1}");
            view.Write("/seen", "1");
            Assert.Null(_other.Read("/seen"));
        }));
        Assert.Equal(4, runs);
        Assert.Equal("32", _store.Read("/n"));
        Assert.Equal("1", _store.Read("/seen"));
    }

    [LibXenStoreFact]
    public void Transaction_ThatFails_ChangesNothing()
    {
        Assert.Throws<StoreException>(() => _store.TryTransact(static view =>
        {
            view.Write("/half", "1");
            view.Write("/a//b", "");
        }));
        Assert.Null(_store.Read("/half"));
        Assert.Throws<InvalidOperationException>(() => _store.TryTransact(static _ => throw new InvalidOperationException()));

        // Others are faster each time: it ends, and no transaction is left open.
        var runs = 0;
        Assert.False(_store.TryTransact(view =>
        {
            view.Write("/n", view.Read("/n") ?? "");
            _other.Write("/n", $"{runs++}");
        }));
        Assert.InRange(runs, 2, 100);
    }

    [LibXenStoreFact]
    public void Watch_TellsOnTheLoop_EachPathOnce()
    {
        var told = new List<string>();
        using var watch = _store.Watch("/w", told.Add);
        Assert.Empty(told);
        Turn(() => told.Count == 1);
        Assert.Equal(["/w"], told);

        told.Clear();
        for (var i = 0; i < 50; i++) _other.Write("/w/x", $"{i}");
        _other.Write("/w/y", "1");
        Fence();
        Assert.Equal(["/w/x", "/w/y"], told);

        told.Clear();
        _other.Remove("/w");
        Fence();
        Assert.Contains("/w", told);
    }

    [LibXenStoreFact]
    public void WatchThatEnded_TellsNothing_AlsoFromWithinAnother()
    {
        var told = new List<string>();
        IDisposable second = null!;
        using var first = _store.Watch("/w", path =>
        {
            told.Add($"first {path}");
            if (path == "/w/x") second.Dispose();
        });
        second = _store.Watch("/w", path => told.Add($"second {path}"));
        Fence();
        Assert.Equal(["first /w", "second /w"], told);
        told.Clear();
        _other.Write("/w/x", "");
        Fence();
        _other.Write("/w/y", "");
        Fence();
        Assert.Equal(["first /w/x", "first /w/y"], told);
        second.Dispose();
    }

    /// <summary>A callback that makes and ends watches and changes the store, as backends do when a device comes.</summary>
    [LibXenStoreFact]
    public void Watch_MadeFromACallback_IsToldLater()
    {
        var told = new List<string>();
        IDisposable? inner = null;
        using var outer = _store.Watch("/d", path =>
        {
            told.Add(path);
            if (path != "/d/0") return;
            inner ??= _store.Watch("/f/0", p => told.Add(p));
            _store.Write("/f/0/state", "2");
            told.Add("done");
        });
        _other.Write("/d/0", "");
        Turn(() => told.Contains("/f/0/state"));
        Assert.True(told.IndexOf("done") < told.IndexOf("/f/0"));
        inner!.Dispose();
    }

    [LibXenStoreFact]
    public void Flood_LeavesTheLoopItsTurns()
    {
        var told = 0;
        using var watch = _store.Watch("/w", _ => told++);
        Fence();
        told = 0;
        for (var i = 0; i < 1000; i++) _other.Write($"/w/{i}", "");
        using var fence = _store.Watch("/fence", static _ => { });

        // Everything is there; one turn takes some of it.
        _loop.RunOnce(wait: true);
        Assert.InRange(told, 1, 500);
        Turn(() => told == 1000);
    }

    public void Dispose()
    {
        _other?.Dispose();
        _store?.Dispose();
        _daemon?.Dispose();
        _loop.Dispose();
    }

    private void Turn(Func<bool> until)
    {
        while (!until()) _loop.RunOnce(wait: true);
    }

    /// <summary>All events of changes made so far are told: events come in the order of what they tell of.</summary>
    private void Fence()
    {
        var passed = false;
        using var watch = _store.Watch("/fence", _ => passed = true);
        Turn(() => passed);
    }

    private List<StorePermission> PermissionsOf(string path)
    {
        var list = new List<StorePermission>();
        Assert.Equal(0, _other.Permissions(path, out var permissions));
        foreach (var (domain, access) in permissions) list.Add(new StorePermission("nrwb"[access], (int)domain));
        return list;
    }
}
