using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Net;

namespace XenDM.Web;

/// <param name="Name">As it stands in addresses and in the list.</param>
/// <param name="Vnc">Null: the guest is asked with <c>query-vnc</c>.</param>
public sealed record GuestSpec(string Name, PeerAddress Qmp, PeerAddress? Vnc);

/// <summary>The command line of <c>xendm-web</c>.</summary>
public sealed record WebOptions
{
    public const int DefaultPort = 6080;

    public const string Help = """
        xendm-web: a page per guest of XenDM (or of any device model that speaks QMP and VNC) for a browser.

        Examples:
          xendm-web --guest linux=/run/guests/linux.qmp
          xendm-web --guest a=/tmp/a.qmp,vnc=unix:/tmp/a.vnc --guest b=/tmp/b.qmp,vnc=127.0.0.1:5901
          xendm-web --dir /run/guests --media /srv/iso

          --guest NAME=QMP[,vnc=VNC]   a guest: its QMP socket, and its VNC server unless QMP's query-vnc names it;
                                       both are the path of a Unix socket, unix:PATH or HOST:PORT
          --dir FOLDER                 every socket NAME.qmp in this folder is a guest's, also of guests that come later
          --media FOLDER               its files are offered when a CD is changed
          --listen [ADDRESS:]PORT      where browsers connect [127.0.0.1:6080]; port 0 takes a free one
          --token-file FILE            the token is kept there, and made when the file is not there; otherwise each run
                                       has a new one
          --until-eof                  end when standard input ends
          --help, -h                   this text

        The address with its token is printed at the start. Whoever has the token has the guests. The connection is not
        encrypted: from another host use ssh -L, or a proxy that speaks TLS.

        A QMP socket serves one client at a time. libxl's own (qmp-libxl-N) are therefore refused; a guest of xl gets one
        more with
          device_model_args=["-qmp", "unix:/run/guests/NAME.qmp,server=on,wait=off"]
        """;

    public IReadOnlyList<GuestSpec> Guests { get; init; } = [];

    public IReadOnlyList<string> Folders { get; init; } = [];

    public IReadOnlyList<string> Media { get; init; } = [];

    public IPEndPoint Listen { get; init; } = new(IPAddress.Loopback, DefaultPort);

    public string? TokenFile { get; init; }

    public bool UntilEof { get; init; }

    /// <returns>Null when the user asks for help.</returns>
    /// <exception cref="UsageException">The first mistake.</exception>
    public static WebOptions? Parse(IReadOnlyList<string> arguments)
    {
        var guests = new List<GuestSpec>();
        var folders = new List<string>();
        var media = new List<string>();
        var options = new WebOptions { Guests = guests, Folders = folders, Media = media };
        for (var i = 0; i < arguments.Count; i++)
        {
            var equals = arguments[i].StartsWith("--", StringComparison.Ordinal) ? arguments[i].IndexOf('=', StringComparison.Ordinal) : -1;
            var option = equals < 0 ? arguments[i] : arguments[i][..equals];
            if (option is "--help" or "-h") return null;
            if (option == "--until-eof")
            {
                options = options with { UntilEof = true };
                continue;
            }

            if (option is not ("--guest" or "--dir" or "--media" or "--listen" or "--token-file")) throw new UsageException("", $"'{arguments[i]}' is not known; xendm-web --help lists the options");
            if (equals < 0 && i + 1 == arguments.Count) throw new UsageException(option, "a value must follow");
            var value = equals < 0 ? arguments[++i] : arguments[i][(equals + 1)..];
            switch (option)
            {
                case "--guest": guests.Add(Guest(value, guests)); break;
                case "--dir": folders.Add(Folder(option, value)); break;
                case "--media": media.Add(Folder(option, value)); break;
                case "--listen": options = options with { Listen = EndPoint(value) }; break;
                default: options = options with { TokenFile = value }; break;
            }
        }

        if (guests.Count == 0 && folders.Count == 0) throw new UsageException("", "there is no guest; give --guest NAME=QMP-SOCKET or --dir FOLDER (see xendm-web --help)");
        return options;
    }

    /// <summary>libxl speaks to its guests there and finds the socket taken while somebody else does.</summary>
    public static bool IsLibxls(string path) => Path.GetFileName(path).StartsWith("qmp-libxl-", StringComparison.Ordinal);

    private static GuestSpec Guest(string text, List<GuestSpec> others)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0) throw new UsageException("--guest", $"'{text}' must be NAME=QMP-SOCKET[,vnc=ADDRESS]");
        var name = text[..equals];
        foreach (var c in name)
            if (c is '/' or '\\' or '?' or '#' || char.IsControl(c)) throw new UsageException("--guest", $"'{name}': a name has no '{(char.IsControl(c) ? "control characters" : c)}' in it");
        if (name is "." or "..") throw new UsageException("--guest", $"'{name}' is no name");
        foreach (var other in others)
            if (other.Name == name) throw new UsageException("--guest", $"'{name}' is there twice");
        var rest = text[(equals + 1)..];
        var comma = rest.LastIndexOf(",vnc=", StringComparison.Ordinal);
        var qmp = Address(comma < 0 ? rest : rest[..comma]);
        if (qmp.Path is not null && IsLibxls(qmp.Path))
            throw new UsageException("--guest", $"'{qmp.Path}' is libxl's own socket, which serves one client at a time; xendm-web --help says how a guest gets another");
        return new GuestSpec(name, qmp, comma < 0 ? null : Address(rest[(comma + ",vnc=".Length)..]));
    }

    private static PeerAddress Address(string text) =>
        PeerAddress.TryParse(text, out var address) ? address : throw new UsageException("--guest", $"'{text}' is no address; write the path of a Unix socket (107 bytes at most), unix:PATH or HOST:PORT");

    private static string Folder(string option, string path) =>
        Directory.Exists(path) ? Path.GetFullPath(path) : throw new UsageException(option, $"there is no folder '{path}'");

    private static IPEndPoint EndPoint(string text)
    {
        var colon = text.LastIndexOf(':');
        var port = colon < 0 || text.EndsWith(']') ? text : text[(colon + 1)..];
        var host = colon < 0 ? "127.0.0.1" : text[..colon];
        if (host == "localhost") host = "127.0.0.1";
        if (host is "*" or "") host = "0.0.0.0";
        if (host.StartsWith('[') && host.EndsWith(']')) host = host[1..^1];
        if (!int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number > 65535 || !IPAddress.TryParse(host, out var address))
            throw new UsageException("--listen", $"'{text}' is no address; write PORT, ADDRESS:PORT or [ADDRESS]:PORT with an IP address of this host");
        return new IPEndPoint(address, number);
    }
}
