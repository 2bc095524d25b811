using System;
using System.Globalization;

namespace XenDM.Interop.Libc;

/// <summary>
/// Gives up what a process no longer needs: the file system outside of a directory, and root. Nothing is believed: afterwards the ids are read
/// back, and root is asked for again. Every error is one line for a person.
/// </summary>
public static unsafe class PrivilegeDrop
{
    /// <summary>What the set*id calls take for "leave it as it is".</summary>
    private const uint Unchanged = uint.MaxValue;

    /// <summary>A user to become. Without a name the group is the only one.</summary>
    public sealed record Identity(string? Name, uint Uid, uint Gid);

    /// <summary>Finds a user; to be called while the user database is within reach.</summary>
    /// <param name="user">The name of a user, or uid:gid in decimal.</param>
    /// <param name="error">Why there is no identity; empty otherwise.</param>
    public static Identity? Find(string user, out string error)
    {
        error = "";
        var identity = Posix.FindUser(user) is { } entry ? new Identity(entry.Name, entry.Uid, entry.Gid) : FromNumbers(user);
        if (identity is null) error = $"there is no user '{user}': give the name of a user, or UID:GID in decimal";
        else if (identity.Uid is 0 or Unchanged || identity.Gid is Unchanged)
            error = $"'{user}' is user {identity.Uid}, group {identity.Gid}: give a user other than root";
        return error.Length == 0 ? identity : null;
    }

    /// <summary>
    /// Enters a new root directory, then becomes a user for good, in all threads. Both need root. On an error the process may be half way and must end.
    /// </summary>
    /// <param name="root">Null: stay where we are.</param>
    /// <param name="identity">Null: stay who we are.</param>
    /// <returns>Null, or what failed.</returns>
    public static string? Apply(string? root, Identity? identity)
    {
        // The group database is out of reach once the root is another one.
        if (identity is not null)
        {
            var groups = identity.Name is { } name ? Posix.InitGroups(name, identity.Gid) : Posix.SetGroups([identity.Gid]);
            if (groups < 0) return $"cannot set the groups of user {identity.Uid}: {Errno.Describe(groups)}";
        }

        if (root is not null && Posix.ChangeRoot(root) is < 0 and var entered)
            return $"cannot change the root directory to '{root}': {Errno.Describe(entered)}";
        if (identity is null) return null;

        // The group first: an ordinary user may not change it.
        if (Posix.SetGroupId(identity.Gid) is < 0 and var group) return $"cannot become group {identity.Gid}: {Errno.Describe(group)}";
        if (Posix.SetUserId(identity.Uid) is < 0 and var user) return $"cannot become user {identity.Uid}: {Errno.Describe(user)}";
        return Verify(identity);
    }

    private static Identity? FromNumbers(string user)
    {
        var colon = user.IndexOf(':', StringComparison.Ordinal);
        return colon > 0
            && uint.TryParse(user.AsSpan(0, colon), NumberStyles.None, CultureInfo.InvariantCulture, out var uid)
            && uint.TryParse(user.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var gid) ? new Identity(null, uid, gid) : null;
    }

    private static string? Verify(Identity identity)
    {
        uint real, effective, saved;
        if (LibC.getresuid(&real, &effective, &saved) != 0 || real != identity.Uid || effective != identity.Uid || saved != identity.Uid)
            return $"the process is not user {identity.Uid} after it became that";
        if (LibC.getresgid(&real, &effective, &saved) != 0 || real != identity.Gid || effective != identity.Gid || saved != identity.Gid)
            return $"the process is not of group {identity.Gid} after it became that";
        if (identity.Name is null && !IsOnlyGroup(identity.Gid)) return $"the process has other groups than {identity.Gid}";
        return Posix.SetUserId(0) >= 0 || (identity.Gid != 0 && Posix.SetGroupId(0) >= 0) ? "root could be regained" : null;
    }

    private static bool IsOnlyGroup(uint gid)
    {
        uint group;
        return LibC.getgroups(1, &group) == 1 && group == gid;
    }
}
