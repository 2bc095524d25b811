using System;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>Somebody wants to know of changes at a path and below it.</summary>
/// <param name="path">Absolute, or a special one with @.</param>
/// <param name="token">The client's own name for it.</param>
/// <param name="prefix">What is cut off a path for a client that gave a relative one.</param>
/// <param name="changed">Given the path in the client's form.</param>
internal sealed class StoreWatch(int domain, string path, string token, string prefix, Action<StoreWatch, string> changed)
{
    public string Path => path;

    public string Token => token;

    /// <summary>The path as the client gave it.</summary>
    public string OwnPath => Relative(path);

    public void Fire(string at) => changed(this, Relative(at));

    /// <summary>A node was changed or removed. Clients are told of what they may read, or might until now.</summary>
    public void Look(string at, bool removed, StoreTree before, StoreTree after)
    {
        if (IsBelow(at, path))
        {
            if (MayKnow(at, before) || MayKnow(at, after)) Fire(at);
        }
        else if (removed && IsBelow(path, at) && MayKnow(path, before))
        {
            Fire(path);
        }
    }

    private static bool IsBelow(string at, string top) =>
        top == "/" || (at.StartsWith(top, StringComparison.Ordinal) && (at.Length == top.Length || at[top.Length] == '/'));

    private bool MayKnow(string at, StoreTree tree) => tree.Find(at)?.May(domain, write: false) ?? false;

    private string Relative(string at) => prefix.Length > 0 && at.StartsWith(prefix, StringComparison.Ordinal) ? at[prefix.Length..] : at;
}
