using System;
using System.Collections.Generic;

namespace XenDM.Core.Hypervisor;

/// <summary>Why xenstore refused a request, in the word of its protocol.</summary>
public sealed class StoreException(string error) : Exception(error)
{
    /// <summary>As in EINVAL.</summary>
    public string Error { get; } = error;
}

/// <summary>Who may do what with a node of xenstore: the first entry names its owner and what everybody else may.</summary>
/// <param name="Letter">n nothing, r read, w write, b both.</param>
public readonly record struct StorePermission(char Letter, int Domain)
{
    public bool Reads => Letter is 'r' or 'b';

    public bool Writes => Letter is 'w' or 'b';

    public override string ToString() => $"{Letter}{Domain}";
}

/// <summary>Nodes of xenstore by absolute path (docs/misc/xenstore.txt of Xen); as they are, or as a transaction sees them.</summary>
public interface IXenStoreView
{
    /// <summary>Null when there is no such node, or it may not be read.</summary>
    /// <exception cref="StoreException">Anything else.</exception>
    string? Read(string path);

    /// <summary>Names of the nodes below; null when there is no such node, or it may not be read.</summary>
    /// <exception cref="StoreException">Anything else.</exception>
    IReadOnlyList<string>? List(string path);

    /// <summary>Sets a value; the node and those above it are made where they are missing.</summary>
    /// <exception cref="StoreException">It was refused.</exception>
    void Write(string path, string value);

    /// <summary>Removes a node and all below it; one that is not there is no mistake.</summary>
    /// <exception cref="StoreException">It was refused.</exception>
    void Remove(string path);

    /// <exception cref="StoreException">It was refused.</exception>
    void SetPermissions(string path, IReadOnlyList<StorePermission> permissions);
}

/// <summary>
/// xenstore as a backend uses it: libxenstore's connection, or the embedded machine's own store. Machine thread only; watches are called there too,
/// never from within a call.
/// </summary>
public interface IXenStore : IXenStoreView
{
    /// <summary>Carries changes out as one: repeated from the start while somebody else changed what was read.</summary>
    /// <param name="body">May run several times, and must not keep the view.</param>
    /// <returns>False when others were faster each time.</returns>
    /// <exception cref="StoreException">A request was refused; nothing is changed.</exception>
    bool TryTransact(Action<IXenStoreView> body);

    /// <summary>Tells of changes to a node and all below it, and once at the start.</summary>
    /// <param name="changed">Given the path that changed; several changes of one path may be told as one.</param>
    /// <returns>Disposing ends the watch: no call comes after.</returns>
    /// <exception cref="StoreException">It was refused.</exception>
    IDisposable Watch(string path, Action<string> changed);
}
