using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>
/// Steps that are seen by nobody before all of them are. They work on the tree as it was at the start; at the end they are repeated on the tree as
/// it is, unless a node that was read has changed.
/// </summary>
internal sealed class StoreTransaction(uint id, StoreTree start)
{
    /// <summary>Nodes that are read and steps that are taken in one transaction of a guest.</summary>
    private const int MaxSteps = 1024;

    private readonly StoreTree _start = start;
    private readonly Dictionary<string, ulong> _read = [];
    private readonly List<Action<XenStore.Editor>> _steps = [];

    public uint Id => id;

    /// <summary>What the transaction sees.</summary>
    public StoreTree Tree { get; set; } = start;

    /// <summary>The result depends on a node, which need not be there.</summary>
    /// <exception cref="StoreException">ENOSPC: too many.</exception>
    public void NoteRead(string path)
    {
        if (_read.ContainsKey(path)) return;
        if (_read.Count == MaxSteps) throw new StoreException("ENOSPC");
        _read[path] = Generation(_start, path);
    }

    /// <exception cref="StoreException">ENOSPC: too many.</exception>
    public void NoteStep(Action<XenStore.Editor> step)
    {
        if (_steps.Count == MaxSteps) throw new StoreException("ENOSPC");
        _steps.Add(step);
    }

    /// <summary>Nobody changed what was read.</summary>
    public bool IsCurrent(StoreTree now)
    {
        foreach (var (path, generation) in _read)
            if (Generation(now, path) != generation) return false;
        return true;
    }

    public void Repeat(XenStore.Editor editor)
    {
        foreach (var step in _steps) step(editor);
    }

    private static ulong Generation(StoreTree tree, string path) => tree.Find(path)?.Generation ?? 0;
}
