using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;

namespace XenDM.Web.Guests;

/// <summary>The guests of the command line, and those whose sockets lie in its folders at the moment.</summary>
public sealed class GuestList : IDisposable
{
    private const string Suffix = ".qmp";

    private readonly WebOptions _options;
    private readonly DirectoryInfo _pictures;
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, Guest> _found = new(StringComparer.Ordinal);
    private readonly List<Guest> _given = [];
    private readonly Timer _timer;

    public GuestList(WebOptions options)
    {
        _options = options;
        _pictures = Directory.CreateTempSubdirectory("xendm-web-");

        // May be entered by all and listed by none but us, see Guest.TakePicture.
        File.SetUnixFileMode(_pictures.FullName, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        foreach (var spec in options.Guests) _given.Add(new Guest(spec, _pictures.FullName));
        _timer = new Timer(_ => CloseIdle(), null, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));
    }

    /// <summary>In the order of the command line, then by name.</summary>
    public IReadOnlyList<Guest> All()
    {
        lock (_lock)
        {
            if (_options.Folders.Count > 0) Scan();
            return [.. _given, .. _found.Values];
        }
    }

    public Guest? Find(string name)
    {
        foreach (var guest in All())
            if (guest.Name == name) return guest;
        return null;
    }

    public void Dispose()
    {
        _timer.Dispose();
        foreach (var guest in (IReadOnlyList<Guest>)[.. _given, .. _found.Values]) guest.Dispose();
        try
        {
            _pictures.Delete(recursive: true);
        }
        catch (IOException)
        {
            // A picture that comes late; the folder of temporary files is swept by others.
        }
    }

    private void CloseIdle()
    {
        lock (_lock)
        {
            foreach (var guest in (IReadOnlyList<Guest>)[.. _given, .. _found.Values]) guest.CloseIdle();
        }
    }

    private void Scan()
    {
        var present = new Dictionary<string, GuestSpec>();
        foreach (var folder in _options.Folders)
        {
            string[] files;
            try
            {
                files = Directory.GetFiles(folder, "*" + Suffix);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            foreach (var file in files)
            {
                var name = Path.GetFileName(file)[..^Suffix.Length];
                if (name.Length == 0 || WebOptions.IsLibxls(file) || IsGiven(name) || !PeerAddress.TryParse($"unix:{file}", out var address)) continue;
                present.TryAdd(name, new GuestSpec(name, address, null));
            }
        }

        foreach (var name in (List<string>)[.. _found.Keys])
        {
            if (present.TryGetValue(name, out var spec) && spec == _found[name].Spec) continue;
            _found[name].Dispose();
            _found.Remove(name);
        }

        foreach (var (name, spec) in present)
            if (!_found.ContainsKey(name)) _found[name] = new Guest(spec, _pictures.FullName);
    }

    private bool IsGiven(string name)
    {
        foreach (var guest in _given)
            if (guest.Name == name) return true;
        return false;
    }
}
